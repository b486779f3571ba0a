"""Shows Prometheus an exporter whose groups are in trouble, takes down what the receivers of Alertmanager are told, and
compares. Standard library only.

The page is not an exporter's, but each series of it is in the catalog of metrics. First it is there, then it is gone. Two
more exporters of the job read no region; the third goes with the first, and the second stays.
"""

import json
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE, SECOND, THIRD, RECEIVERS = (int(port) for port in sys.argv[1:5])
ALERTMANAGER, PROMETHEUS = sys.argv[5:7]
EXPORTERS = {f"127.0.0.1:{port}": name for port, name in ((PAGE, "first"), (SECOND, "second"), (THIRD, "third"))}
WITHIN_SECONDS = 40
failed = []
told = defaultdict(list)
gone = threading.Event()


def page():
    """Instance `paid` is of the team payments, `own` of none; `dark`, of payments, is in a region that is not read."""
    now = time.time()
    lines = []

    def put(name, value, /, **labels):
        inner = ",".join(f'{k}="{v}"' for k, v in labels.items())
        lines.append(f"alikafka_{name}{{{inner}}} {value}")

    def at(instance, region="cn-hangzhou"):
        return {"region": region, "instance_id": instance}

    put("region_up", 1, region="cn-hangzhou")
    put("region_up", 0, region="eu-central-1")
    for instance, up in (("paid", 1), ("own", 0)):
        put("instance_up", up, **at(instance))
        put("instance_info", 1, **at(instance), name=instance)
        put("instance_last_success_timestamp_seconds", now - 30, **at(instance), scope="groups")
    put("instance_tags", 1, **at("paid"), tag_team="payments")
    put("instance_tags", 1, **at("own"), tag_team="")
    # Certainly late, with all that comes with it; one that may be; one that lost messages and goes on losing.
    for group, floor, ceiling, lag in (("late", 900, 960, 250_000), ("maybe", 590, 650, 10), ("fine", 0, 0, 0)):
        put("group_lag_floor_seconds", floor, **at("paid"), group=group)
        put("group_lag_seconds", ceiling, **at("paid"), group=group)
        put("group_lag_messages", lag, **at("paid"), group=group)
    put("group_topic_status", 2, **at("paid"), group="late", topic="cart")
    put("group_lag_floor_seconds", 700, **at("own"), group="audit")
    put("group_lag_messages", 90, **at("own"), group="audit")
    put("group_partition_lost_messages", 40, **at("own"), group="audit", topic="trail", partition="0")
    put("group_topic_data_loss_eta_seconds", 0, **at("own"), group="audit", topic="trail")
    dark = at("dark", "eu-central-1")
    put("instance_up", 0, **dark)
    put("instance_info", 1, **dark, name="dark")
    put("instance_tags", 1, **dark, tag_team="payments")
    put("instance_last_success_timestamp_seconds", now - 3000, **dark, scope="groups")
    return ("\n".join(lines) + "\n").encode()


def page_of_second():
    """It reads an instance that no other does, which fails once the first exporter is gone."""
    return f'alikafka_instance_up{{region="cn-beijing",instance_id="far"}} {int(not gone.is_set())}\n'.encode()


# Who is told what, as receiver, alert, and the thing that it is about.
PAID, OWN = "paid/late", "own/audit"
WANT = {
    ("payments-pager", "AliKafkaGroupLate", PAID),
    ("payments-pager", "AliKafkaInstanceUnwatched", "dark"),
    ("payments-chat", "AliKafkaGroupStalled", PAID),
    ("payments-chat", "AliKafkaGroupPossiblyLate", "paid/maybe"),
    ("platform-pager", "AliKafkaGroupLate", OWN),
    ("platform-pager", "AliKafkaMessagesLost", OWN),
    ("platform-pager", "AliKafkaRegionDown", "eu-central-1"),
    ("platform-chat", "AliKafkaInstanceDown", "own"),
    ("platform-pager", "AliKafkaNoRegion", "second"),
    ("platform-pager", "AliKafkaNoRegion", "third"),
}
# What is muted, and the alert that mutes it.
MUTED = {
    ("AliKafkaGroupPossiblyLate", PAID): "AliKafkaGroupLate",
    ("AliKafkaGroupLagHigh", PAID): "AliKafkaGroupLate",
    ("AliKafkaDataLossNear", OWN): "AliKafkaMessagesLost",
    ("AliKafkaDataLossAhead", OWN): "AliKafkaMessagesLost",
    ("AliKafkaInstanceDown", "dark"): "AliKafkaRegionDown",
    ("AliKafkaDataStale", "dark"): "AliKafkaRegionDown",
}


def check(what, wrong=()):
    wrong = list(wrong)
    print(f"{'FAIL ' if wrong else 'ok   '} {what}", flush=True)
    for line in wrong[:8]:
        print(f"      {line}", flush=True)
    failed.extend(wrong)


def differences(have, want):
    return [f"missing: {x}" for x in sorted(want - have)] + [f"too much: {x}" for x in sorted(have - want)]


def server(port, handler):
    httpd = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    return httpd


class Page(BaseHTTPRequestHandler):
    pages = {PAGE: page, SECOND: page_of_second, THIRD: lambda: b""}

    def do_GET(self):
        body = self.pages[self.server.server_port]()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Receivers(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told[self.path.strip("/")].append(body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def thing(labels):
    """What an alert is about."""
    about = "/".join(labels[l] for l in ("instance_id", "group") if labels.get(l)) or labels.get("region")
    return about or EXPORTERS.get(labels.get("instance"), "exporter")


def firing_told():
    """What receivers were told to be firing. Pagers get Alertmanager's JSON, chats what the template made of it."""
    said = set()
    for receiver, messages in list(told.items()):
        for message in messages:
            if "alerts" in message:
                said |= {(receiver, a["labels"]["alertname"], thing(a["labels"]))
                         for a in message["alerts"] if a["status"] == "firing"}
            else:
                said |= {(receiver, alert, about) for alert, about in in_chat(message)}
    return said


def in_chat(message):
    attachment = message["attachments"][0]
    match = re.search(r"\](?: group (?P<group>\S+) of)? (?P<about>\w+)", attachment["title"])
    about = f"{match['about']}/{match['group']}" if match["group"] else match["about"]
    return [(alert, about) for alert in re.findall(r"What to do: \S+/(\w+)\.md", attachment["text"])]


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def alerts():
    try:
        return fetch(f"{ALERTMANAGER}/api/v2/alerts")
    except (urllib.error.URLError, OSError):
        return []


def muted():
    """What is muted, by which alerts."""
    by_print = {a["fingerprint"]: a["labels"]["alertname"] for a in alerts()}
    return {(a["labels"]["alertname"], thing(a["labels"])): {by_print.get(p) for p in a["status"]["inhibitedBy"]}
            for a in alerts() if a["status"]["inhibitedBy"]}


def wait_for(holds):
    deadline = time.monotonic() + WITHIN_SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)


def main():
    page()
    server(RECEIVERS, Receivers)
    exporters = {port: server(port, Page) for port in (PAGE, SECOND, THIRD)}
    wait_for(lambda: firing_told() >= WANT and MUTED.keys() <= muted().keys())
    # What would come too much comes with the next message of a group.
    time.sleep(4)

    rules = [r for g in fetch(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"] for r in g["rules"]]
    check(f"Prometheus evaluates all {len(rules)} rules without an error",
          [f"{r['name']}: {r.get('lastError')}" for r in rules if r["health"] != "ok"] + ["few"] * (len(rules) < 60))
    check("each receiver was told its alerts and no other: a team its own, by pager or chat, the platform the rest",
          differences(firing_told(), WANT))
    now = muted()
    check("what follows from another alert is muted, and nothing else is", differences(set(now), set(MUTED)))
    check("and by that alert", [f"{k} is muted by {v}, not {MUTED[k]}" for k, v in now.items()
                                if k in MUTED and MUTED[k] not in v])
    pages = [a for message in told["payments-pager"] for a in message["alerts"]
             if a["labels"]["alertname"] == "AliKafkaGroupLate"]
    check("the page carries the team, the threshold and the path of the runbook", [
        a for a in pages if a["labels"].get("team") != "payments" or "threshold of 10m 0s" not in a["annotations"]["description"]
        or a["annotations"]["runbook_url"] != "docs/runbooks/AliKafkaGroupLate.md"] + ["no page"] * (not pages))
    texts = [m["attachments"][0] for m in told["payments-chat"]]
    check("the message in the chat says what it is about, and links to the runbook", [t for t in texts if not (
        t["title"].startswith("[1 firing] group ") and "paid (cn-hangzhou)" in t["title"] and "*warning* Group " in t["text"]
        and "https://wiki.example.com/alikafka-exporter/docs/runbooks/AliKafka" in t["text"])] + ["none"] * (not texts))

    # Two exporters are gone.
    for port in (PAGE, THIRD):
        exporters[port].shutdown()
        exporters[port].server_close()
    down = {("platform-pager", "AliKafkaExporterDown", name) for name in ("first", "third")}
    follows = {("AliKafkaNoRegion", "third")}
    by_down = lambda: {k for k, v in muted().items() if "AliKafkaExporterDown" in v}
    wait_for(lambda: down <= firing_told() and follows <= by_down())
    check("an exporter that is gone pages the platform", down - firing_told())
    gone.set()
    far = ("platform-chat", "AliKafkaInstanceDown", "far")
    wait_for(lambda: far in firing_told())
    check("what another exporter of the job says then is told", [] if far in firing_told() else ["it was not"])
    check("only that it has no region is muted, and of itself alone", differences(by_down(), follows))
    time.sleep(4)
    still = {(a["labels"]["alertname"], thing(a["labels"])) for a in alerts() if a["status"]["state"] == "active"}
    pages = {("AliKafkaGroupLate", PAID), ("AliKafkaGroupLate", OWN), ("AliKafkaMessagesLost", OWN),
             ("AliKafkaInstanceUnwatched", "dark")}
    check("pages about groups and instances go on: those stand on the last value",
          [f"ended or muted: {p}" for p in pages - still])
    ended = [a["labels"] for messages in (told["payments-pager"], told["platform-pager"]) for m in messages
             for a in m["alerts"] if a["status"] == "resolved"]
    check("and no pager was told that one has resolved", ended)
    return 1 if failed else 0


sys.exit(main())
