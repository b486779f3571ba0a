"""Serves the metrics of an exporter with failing consumer groups to Prometheus, records the notifications that
Alertmanager sends to its receivers, and compares both with the expectation. Standard library only.

The metrics are hand-written, but each series is in the metric catalog. Two more exporters of the job monitor no region.
In the second half of the test the first and the third exporter are down; the second one stays up.
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

FIRST, SECOND, THIRD, RECEIVERS = (int(port) for port in sys.argv[1:5])
ALERTMANAGER, PROMETHEUS = sys.argv[5:7]
EXPORTERS = {f"127.0.0.1:{port}": name for port, name in ((FIRST, "first"), (SECOND, "second"), (THIRD, "third"))}
WAIT_SECONDS = 40
failures = []
notifications = defaultdict(list)
first_is_down = threading.Event()


def first_metrics():
    """Instance `paid` belongs to team payments and `own` to none; `dark` (payments) is in an unreadable region."""
    now = time.time()
    lines = []

    def add(name, value, /, **labels):
        inner = ",".join(f'{k}="{v}"' for k, v in labels.items())
        lines.append(f"alikafka_{name}{{{inner}}} {value}")

    def labels_of(instance, region="cn-hangzhou"):
        return {"region": region, "instance_id": instance}

    add("region_up", 1, region="cn-hangzhou")
    add("region_up", 0, region="eu-central-1")
    for instance, up in (("paid", 1), ("own", 0)):
        add("instance_up", up, **labels_of(instance))
        add("instance_info", 1, **labels_of(instance), name=instance)
        add("instance_last_success_timestamp_seconds", now - 30, **labels_of(instance), scope="groups")
    add("instance_tags", 1, **labels_of("paid"), tag_team="payments")
    add("instance_tags", 1, **labels_of("own"), tag_team="")
    # `late` exceeds the threshold, `maybe` only by its upper bound; `audit` has lost messages and loses more.
    for group, lower, upper, lag in (("late", 900, 960, 250_000), ("maybe", 590, 650, 10), ("fine", 0, 0, 0)):
        add("group_lag_floor_seconds", lower, **labels_of("paid"), group=group)
        add("group_lag_seconds", upper, **labels_of("paid"), group=group)
        add("group_lag_messages", lag, **labels_of("paid"), group=group)
    add("group_topic_status", 2, **labels_of("paid"), group="late", topic="cart")
    add("group_lag_floor_seconds", 700, **labels_of("own"), group="audit")
    add("group_lag_messages", 90, **labels_of("own"), group="audit")
    add("group_partition_lost_messages", 40, **labels_of("own"), group="audit", topic="trail", partition="0")
    add("group_topic_data_loss_eta_seconds", 0, **labels_of("own"), group="audit", topic="trail")
    dark = labels_of("dark", "eu-central-1")
    add("instance_up", 0, **dark)
    add("instance_info", 1, **dark, name="dark")
    add("instance_tags", 1, **dark, tag_team="payments")
    add("instance_last_success_timestamp_seconds", now - 3000, **dark, scope="groups")
    return ("\n".join(lines) + "\n").encode()


def second_metrics():
    """Only this exporter reads instance `far`, which fails once the first exporter is down."""
    return f'alikafka_instance_up{{region="cn-beijing",instance_id="far"}} {int(not first_is_down.is_set())}\n'.encode()


# Expected notifications: receiver, alert name, and the object of the alert.
PAID, OWN = "paid/late", "own/audit"
EXPECTED = {
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
# Inhibited alerts, and the alert that inhibits each.
INHIBITED = {
    ("AliKafkaGroupPossiblyLate", PAID): "AliKafkaGroupLate",
    ("AliKafkaGroupLagHigh", PAID): "AliKafkaGroupLate",
    ("AliKafkaDataLossNear", OWN): "AliKafkaMessagesLost",
    ("AliKafkaDataLossAhead", OWN): "AliKafkaMessagesLost",
    ("AliKafkaInstanceDown", "dark"): "AliKafkaRegionDown",
    ("AliKafkaDataStale", "dark"): "AliKafkaRegionDown",
}


def check(expectation, errors=()):
    errors = list(errors)
    print(f"{'FAIL ' if errors else 'ok   '} {expectation}", flush=True)
    for error in errors[:8]:
        print(f"      {error}", flush=True)
    failures.extend(errors)


def differences(actual, expected):
    missing, unexpected = sorted(expected - actual), sorted(actual - expected)
    return [f"missing: {x}" for x in missing] + [f"unexpected: {x}" for x in unexpected]


def server(port, handler):
    httpd = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    return httpd


class Exporter(BaseHTTPRequestHandler):
    metrics = {FIRST: first_metrics, SECOND: second_metrics, THIRD: lambda: b""}

    def do_GET(self):
        body = self.metrics[self.server.server_port]()
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
        notifications[self.path.strip("/")].append(body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def alert_object(labels):
    """Returns the object of an alert: instance/group, instance, region or exporter."""
    name = "/".join(labels[l] for l in ("instance_id", "group") if labels.get(l)) or labels.get("region")
    return name or EXPORTERS.get(labels.get("instance"), "exporter")


def notified():
    """Returns the firing alerts in all notifications. Pagers receive Alertmanager's JSON, chats rendered templates."""
    alerts = set()
    for receiver, messages in list(notifications.items()):
        for message in messages:
            if "alerts" in message:
                alerts |= {(receiver, a["labels"]["alertname"], alert_object(a["labels"]))
                           for a in message["alerts"] if a["status"] == "firing"}
            else:
                alerts |= {(receiver, alert, name) for alert, name in parse_chat_message(message)}
    return alerts


def parse_chat_message(message):
    attachment = message["attachments"][0]
    match = re.search(r"\](?: group (?P<group>\S+) on)? (?P<name>\w+)", attachment["title"])
    name = f"{match['name']}/{match['group']}" if match["group"] else match["name"]
    return [(alert, name) for alert in re.findall(r"Runbook: \S+/(\w+)\.md", attachment["text"])]


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.loads(response.read())


def alerts():
    try:
        return fetch(f"{ALERTMANAGER}/api/v2/alerts")
    except (urllib.error.URLError, OSError):
        return []


def inhibited():
    """Returns each inhibited alert with the names of the alerts that inhibit it."""
    names = {a["fingerprint"]: a["labels"]["alertname"] for a in alerts()}
    return {(a["labels"]["alertname"], alert_object(a["labels"])): {names.get(p) for p in a["status"]["inhibitedBy"]}
            for a in alerts() if a["status"]["inhibitedBy"]}


def wait_for(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def main():
    server(RECEIVERS, Receivers)
    exporters = {port: server(port, Exporter) for port in (FIRST, SECOND, THIRD)}
    wait_for(lambda: notified() >= EXPECTED and INHIBITED.keys() <= inhibited().keys())
    # Unexpected alerts would arrive with the next notification of a group.
    time.sleep(4)

    rules = [r for g in fetch(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"] for r in g["rules"]]
    check(f"Prometheus evaluates all {len(rules)} rules without an error",
          [f"{r['name']}: {r.get('lastError')}" for r in rules if r["health"] != "ok"]
          + ["too few rules"] * (len(rules) < 60))
    check("each receiver gets exactly its alerts: teams their own, by pager or chat, the platform team the rest",
          differences(notified(), EXPECTED))
    actual = inhibited()
    check("exactly the consequences of other alerts are inhibited", differences(set(actual), set(INHIBITED)))
    check("each is inhibited by its cause", [f"{k} is inhibited by {v}, not {INHIBITED[k]}" for k, v in actual.items()
                                             if k in INHIBITED and INHIBITED[k] not in v])
    critical = [a for message in notifications["payments-pager"] for a in message["alerts"]
                if a["labels"]["alertname"] == "AliKafkaGroupLate"]
    check("a pager notification has the team, the threshold and the runbook path", [
        a for a in critical if a["labels"].get("team") != "payments"
        or "threshold is 10m 0s" not in a["annotations"]["description"]
        or a["annotations"]["runbook_url"] != "docs/runbooks/AliKafkaGroupLate.md"] + ["none"] * (not critical))
    texts = [m["attachments"][0] for m in notifications["payments-chat"]]
    check("a chat notification names the object and links to the runbook", [t for t in texts if not (
        t["title"].startswith("[1 firing] group ") and "paid (cn-hangzhou)" in t["title"]
        and "*warning* Consumer group " in t["text"]
        and "https://wiki.example.com/alikafka-exporter/docs/runbooks/AliKafka" in t["text"])] + ["none"] * (not texts))

    # Stop two exporters.
    for port in (FIRST, THIRD):
        exporters[port].shutdown()
        exporters[port].server_close()
    down = {("platform-pager", "AliKafkaExporterDown", name) for name in ("first", "third")}
    consequences = {("AliKafkaNoRegion", "third")}
    inhibited_by_down = lambda: {k for k, v in inhibited().items() if "AliKafkaExporterDown" in v}
    wait_for(lambda: down <= notified() and consequences <= inhibited_by_down())
    check("the platform team is paged for an exporter that is down", down - notified())
    first_is_down.set()
    far = ("platform-chat", "AliKafkaInstanceDown", "far")
    wait_for(lambda: far in notified())
    check("alerts from another exporter of the job still arrive", {far} - notified())
    check("an exporter that is down inhibits only its own AliKafkaNoRegion",
          differences(inhibited_by_down(), consequences))
    time.sleep(4)
    active = {(a["labels"]["alertname"], alert_object(a["labels"]))
              for a in alerts() if a["status"]["state"] == "active"}
    remaining = {("AliKafkaGroupLate", PAID), ("AliKafkaGroupLate", OWN), ("AliKafkaMessagesLost", OWN),
                 ("AliKafkaInstanceUnwatched", "dark")}
    check("critical alerts about groups and instances keep firing on their last known values",
          [f"resolved or inhibited: {a}" for a in remaining - active])
    resolved = [a["labels"] for receiver in ("payments-pager", "platform-pager") for m in notifications[receiver]
                for a in m["alerts"] if a["status"] == "resolved"]
    check("no pager is notified of a resolved alert", resolved)
    return 1 if failures else 0


sys.exit(main())
