"""What the proofs share: the count of checks, HTTP, Prometheus' API, and comparing series. Standard library only."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

ANY, MAYBE = object(), object()
counts = {"passed": 0, "failed": 0}
# Lines that are told of what is wrong with one thing.
SHOWN = 5


def check(what, wrong=()):
    """One line for each thing that is proven; `wrong` is everything that speaks against it."""
    wrong = list(wrong)
    if not wrong:
        counts["passed"] += 1
        print(f"ok    {what}", flush=True)
        return
    counts["failed"] += 1
    print(f"FAIL  {what}: {len(wrong)} wrong", flush=True)
    for line in wrong[:SHOWN]:
        print(f"      {line}", flush=True)


def fetch(url, headers=None, method="GET"):
    """The body as it was sent, and the headers."""
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read(), answer.headers


class Prometheus:
    """The HTTP API of one."""

    def __init__(self, url):
        self.url = url

    def api(self, path, **parameters):
        """What it answers; an error of a query is a value too."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            answer = json.loads(fetch(url)[0])
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read())
        if answer["status"] != "success":
            raise RuntimeError(f"{answer['errorType']}: {answer['error']} in {parameters}")
        return answer["data"]

    def query(self, expr, at=None):
        return self.api("query", query=expr, time=at or time.time())["result"]


def samples(result, *without):
    """{(name, labels): value} of an instant vector, without the labels that the scrape adds."""
    out = {}
    for row in result:
        labels = {k: v for k, v in row["metric"].items() if k not in ("__name__", "job", "instance", *without)}
        out[series(row["metric"].get("__name__", ""), labels)] = float(row["value"][1])
    return out


def series(name, labels):
    # An empty label is no label, in Prometheus.
    return name, tuple(sorted((k, v) for k, v in labels.items() if v != ""))


def differences(have, want):
    """What is missing, what is too much, and what has another value."""
    for key in want.keys() - have.keys():
        if want[key] is not MAYBE:
            yield f"missing: {key}"
    for key in have.keys() - want.keys():
        yield f"too much: {key} = {have[key]!r}"
    for key in have.keys() & want.keys():
        if want[key] not in (ANY, MAYBE) and have[key] != float(want[key]):
            yield f"{key}: Prometheus has {have[key]!r}, the truth is {want[key]!r}"


def wait_for(what, seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def quoted(value):
    """A string of PromQL."""
    return json.dumps(value, ensure_ascii=False)


def escaped(value):
    """A value as a pattern within a string of PromQL."""
    return quoted(re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", value))[1:-1]
