"""Shared by the suites: check results, HTTP, the Prometheus API, and comparison of series. Standard library only."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

ANY, MAYBE = object(), object()
counts = {"passed": 0, "failed": 0}
# Maximum number of problems printed per check.
MAX_PROBLEMS = 5


def check(what, wrong=()):
    """Prints the result of a check; `wrong` lists its problems."""
    wrong = list(wrong)
    if not wrong:
        counts["passed"] += 1
        print(f"ok    {what}", flush=True)
        return
    counts["failed"] += 1
    print(f"FAIL  {what}: {len(wrong)} problems", flush=True)
    for line in wrong[:MAX_PROBLEMS]:
        print(f"      {line}", flush=True)


def fetch(url, headers=None, method="GET"):
    """Returns the body as received, and the headers."""
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read(), response.headers


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, url):
        self.url = url

    def api(self, path, **parameters):
        """Returns the data of a response; raises if the status is not success."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            response = json.loads(fetch(url)[0])
        except urllib.error.HTTPError as error:
            response = json.loads(error.read())
        if response["status"] != "success":
            raise RuntimeError(f"{response['errorType']}: {response['error']} in {parameters}")
        return response["data"]

    def query(self, expr, at=None):
        return self.api("query", query=expr, time=at or time.time())["result"]


def samples(result, *without):
    """Returns {(name, labels): value} of an instant vector, without the labels that the scrape adds."""
    out = {}
    for row in result:
        labels = {k: v for k, v in row["metric"].items() if k not in ("__name__", "job", "instance", *without)}
        out[series(row["metric"].get("__name__", ""), labels)] = float(row["value"][1])
    return out


def series(name, labels):
    # In Prometheus, an empty label equals a missing one.
    return name, tuple(sorted((k, v) for k, v in labels.items() if v != ""))


def differences(have, want):
    """Yields missing, unexpected and differing samples."""
    for key in want.keys() - have.keys():
        if want[key] is not MAYBE:
            yield f"missing: {key}"
    for key in have.keys() - want.keys():
        yield f"unexpected: {key} = {have[key]!r}"
    for key in have.keys() & want.keys():
        if want[key] not in (ANY, MAYBE) and have[key] != float(want[key]):
            yield f"{key}: Prometheus returns {have[key]!r}, expected {want[key]!r}"


def wait_for(what, seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def quoted(value):
    """Returns a PromQL string literal."""
    return json.dumps(value, ensure_ascii=False)


def escaped(value):
    """Returns a value as a regular expression inside a PromQL string literal."""
    return quoted(re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", value))[1:-1]
