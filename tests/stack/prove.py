"""The proof of the Compose stack, the dashboards and the rules; `run` says what of. Standard library and PyYAML.

The failure scenarios run at the pace of life. Three exporters read it: that of the stack, one under the names of
kafka_exporter, and one that shows groups alone, of an account with a name. Each has a Prometheus with all rules; the
first has Alertmanager.
"""

import concurrent.futures
import contextlib
import ctypes
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import dashboards
import common
import compose
import expected
from common import Prometheus, check, counts, fetch, wait_for

ROOT = compose.ROOT
TARGET, DIR = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
# What a rule waits for in life, it does not wait for here: (what stands in the file, what is put in its place).
HASTE = [
    (r"(?m)^(\s+for:) \S+$", r"\1 6s"),
    (r"(?m)^(\s+keep_firing_for:) \S+\n", ""),
    (r"> 420\b", "> 30"),
    (r"> 1200\b", "> 30"),
    (r"(last_success_timestamp_seconds:max\[)5m\]", r"\g<1>20s]"),
]
# How long the world is watched before dashboards are looked at: a window of the status, a reset, and some slopes.
WATCHED_SECONDS = 52
# Of the range that graphs are looked at over.
LOOK_SECONDS = 30
LIBC = ctypes.CDLL(None)
common.MAX_PROBLEMS = 40


class Stack:
    """Processes, each ended with this one."""

    def __init__(self):
        self.running = {}

    def start(self, name, argv):
        log = open(DIR / f"{name}.log", "wb")
        with_us = lambda: LIBC.prctl(1, signal.SIGKILL)
        self.running[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                              preexec_fn=with_us)

    def end(self, name, how=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(how)
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def end_all(self):
        for name in list(self.running):
            self.end(name)

    def died(self):
        return [f"{name} ended with {p.returncode}: {self.tail(name)}" for name, p in self.running.items()
                if p.poll() is not None]

    def tail(self, name):
        return (DIR / f"{name}.log").read_text(errors="replace")[-600:]


def free_ports(names):
    with contextlib.ExitStack() as held:
        sockets = {name: held.enter_context(socket.socket()) for name in names}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


def answers(url):
    try:
        return fetch(url)[0] is not None
    except OSError:
        return False


# What runs.


def files(stack, places):
    """The configurations of all services, and the rules without their patience."""
    (DIR / "rules").mkdir()
    sources = sorted((ROOT / "config/rules").glob("*.rules.yml"))
    used = {pattern: 0 for pattern, _ in HASTE}
    for source in sources:
        text = source.read_text()
        for pattern, quick in HASTE:
            text, n = re.subn(pattern, quick, text)
            used[pattern] += n
        if source.name == "alikafka-thresholds.rules.yml":
            text = expected.THRESHOLDS
        (DIR / "rules" / source.name).write_text(text)
    check("every pattern of the rules that is made quick is there", [p for p, n in used.items() if not n])
    for service in compose.PROGRAMS:
        if service != "simulator":
            (DIR / f"{service}.yml").write_text(compose.config(stack, service, places))
    exporter = (DIR / "exporter.yml").read_text()
    (DIR / "kafka-exporter.yml").write_text(f"{exporter}  naming: kafka_exporter\n")
    (DIR / "group-exporter.yml").write_text(f"{exporter}  granularity: group\naccounts: [{{name: 生产}}]\n")
    prometheus = (DIR / "prometheus.yml").read_text()
    for name in ("kafka", "group"):
        text = prometheus.replace(f"127.0.0.1:{places['exporter']}", f"127.0.0.1:{places[f'{name}_exporter']}")
        text = re.sub(r"(?ms)^alerting:.*?(?=^\w)", "", text)
        (DIR / f"{name}-prometheus.yml").write_text(text)


def command_lines(stack, places):
    lines = {service: compose.arguments(stack, service, places) for service in compose.PROGRAMS}
    for name in ("kafka", "group"):
        for service in ("exporter", "prometheus"):
            mine = {**places, "dir": f"{DIR}/{name}-", service: places[f"{name}_{service}"]}
            argv = compose.arguments(stack, service, mine)
            lines[f"{name}-{service}"] = [a.replace(f"/{name}-/", f"/{name}-") for a in argv]
    return lines


def start(stack, places):
    lines = command_lines(stack, places)
    for service, argv in lines.items():
        check(f"every flag of {service} is known to {Path(argv[0]).name}", compose.unknown_flags(argv))
    said = subprocess.run(["promtool", "check", "config", str(DIR / "prometheus.yml")], capture_output=True, text=True)
    check("promtool finds nothing in the configuration and the rules", [said.stdout + said.stderr] * said.returncode)
    said = subprocess.run(["amtool", "check-config", str(DIR / "alertmanager.yml")], capture_output=True, text=True)
    check("amtool finds nothing in the configuration", [said.stdout + said.stderr] * said.returncode)
    running = Stack()
    # The cloud first, so that no exporter has failures of its start that the others do not have.
    running.start("simulator", lines.pop("simulator"))
    wait_for("the simulator answers", 20, lambda: answers(f"{cloud(places)}/scenarios"))
    for service, argv in lines.items():
        running.start(service, argv)
    return running


def cloud(places):
    return f"http://127.0.0.1:{places['simulator']}/_sim"


def post(url, body=None):
    urllib.request.urlopen(urllib.request.Request(url, method="POST", data=body), timeout=10).close()


EXPORTERS = {"exporter": "exporter", "kafka-exporter": "kafka_exporter", "group-exporter": "group_exporter"}


def small_mishaps(running, places):
    """What a dashboard shows of a day on which little went wrong: some calls that failed and were made good, a client that
    the exporter turned away, a configuration that was loaded anew, a topic that was made again."""
    fault = {"effect": "error", "status": 503, "action": "GetTopicStatus", "region": "eu-central-1",
             "probability": 0.2, "seed": 7}
    post(f"{cloud(places)}/faults", json.dumps(fault).encode())
    turn_away(places)
    yield "first"
    turn_away(places)
    for name in EXPORTERS:
        running.running[name].send_signal(signal.SIGHUP)
    post(f"{cloud(places)}/recreate?instance={expected.LOGS}&topic=import-2024")
    yield "second"


def turn_away(places):
    for port in EXPORTERS.values():
        with socket.create_connection(("127.0.0.1", places[port]), 5) as client:
            client.sendall(b"no request\r\n\r\n")
            client.recv(200)


# What is asked.


class Table:
    """Every expression that was asked, and how many series it had: of the page of the stack, under the names of
    kafka_exporter, and with groups alone."""

    def __init__(self):
        self.rows = []

    def add(self, where, what, expr, *found):
        self.rows.append((where, what, *(*found, "", "")[:3], " ".join(expr.split())))

    def lines(self):
        rows = [("where", "what", "native", "kafka", "group", "expression"), *self.rows]
        return [f"{w:<30.30} {what:<64.64} {a:>6} {b:>6} {c:>6}  {expr:.120}" for w, what, a, b, c, expr in rows]


TABLE = Table()


def hold(found, table, later, what):
    """Everything has series, but for what is listed; and what is listed has none, and is there."""
    check(f"{what}: each of {len(found)} expressions returns series, but for {len(table)} that are listed and "
          f"{len(later)} that come later",
          [f"{where}: {name}" for (where, name), n in found.items() if not n and (where, name) not in {*table, *later}])
    check(f"{what}: what is listed returns nothing", [f"{key} has series" for key in table if found.get(key)])
    check(f"{what}: what is listed is there", [f"{key} is no expression" for key in {*table, *later} - found.keys()])


NO_CEILING = "alikafka_group_lag_messages > 0 unless on (region, instance_id, group) alikafka_group_lag_seconds"


def ask_dashboards(all_dashboards, native, kafka, group, began):
    """{(dashboard, panel and target): expression} of what the page of groups alone cannot show."""
    now, every, found, wrong, coarse, unbounded = time.time(), (native, kafka, group), {}, [], {}, {}
    finer = metric_names(native) - metric_names(group)
    for dashboard in all_dashboards:
        check(f"{dashboard.file}: all variables are there", dashboard.unknown_variables())
        choices = dashboard.choices(native)
        empty = [name for name, query in dashboard.queries()
                 if not dashboards.asked(native, dashboards.substituted(query, choices[0]), dashboard.variables[name].get("regex"))]
        # There is no account with a name but on the third page.
        check(f"{dashboard.file}: every variable has values", set(empty) - {"account"})
        accounts = [dashboards.asked(group, query) for name, query in dashboard.queries() if name == "account"]
        check(f"{dashboard.file}: an account can be chosen where it has a name", [a for a in accounts if a != ["生产"]])
        for what, expr in dashboard.targets():
            while (dashboard.file, what) in found:
                what += "'"
            # A ceiling of several groups is there if each has one; here some have none, so groups are chosen one by one.
            chosen = choices
            if "unless on ()" in expr:
                chosen = dashboard.one_by_one("group", native)
                unbounded[dashboard.file, what] = dashboards.asks(native, expr, choices, now, 0)
            asks = lambda of: dashboards.asks(of, expr, chosen, now, LOOK_SECONDS)
            try:
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    mine, theirs, few = pool.map(asks, every)
            except RuntimeError as error:
                wrong.append(f"{dashboard.file}, {what}: {error}")
                continue
            found[dashboard.file, what] = len(mine)
            TABLE.add(dashboard.file, what, expr, f"{len(mine)}", f"{len(theirs)}", f"{len(few)}")
            if (dashboard.file, what) in expected.LATER_ON_DASHBOARDS:
                continue
            if mine and not few:
                coarse[dashboard.file, what] = expr
            # An annotation marks what one exporter saw change between its own polls: the other sees other changes.
            if what.startswith("annotation ") and mine and theirs:
                continue
            if mine != theirs and (differ := settle(native, kafka, expr, chosen, began)):
                wrong.append(f"{dashboard.file}, {what}: {differ}")
    check("every expression of a dashboard can be asked, and has the same series under both namings", wrong)
    without = dashboards.series(native, NO_CEILING, now, 0, 1)
    check(f"no ceiling of several groups is shown while {len(without)} that lag have none",
          [key for key, rows in unbounded.items() if rows] if without and unbounded else ["nothing to look at"])
    hold(found, expected.NOTHING_ON_DASHBOARDS, expected.LATER_ON_DASHBOARDS, "dashboards")
    check(f"with granularity group {len(coarse)} of them are empty, and each asks for series of topics or partitions",
          [f"{key}: {expr}" for key, expr in coarse.items() if not finer & set(re.findall(r"[a-z_]{9,}", expr))])


def metric_names(prometheus):
    return set(prometheus.api("label/__name__/values"))


def settle(native, kafka, expr, choices, began):
    """What differs even when all of the run is looked at: two exporters poll at different moments, so what comes and
    goes may be seen by one alone for a moment."""
    for _ in range(3):
        now = time.time()
        mine, theirs = (dashboards.asks(of, expr, choices, now, time.monotonic() - began, 2) for of in (native, kafka))
        differ = mine ^ theirs
        few = len(differ) <= max(2, len(mine) // 2)
        if not differ or few and re.search(expected.OF_ITS_OWN, expr):
            return ""
        time.sleep(1)
    return (f"{len(mine)} and {len(theirs)}; only here {sorted(mine - theirs)[:2]}, only under the names of "
            f"kafka_exporter {sorted(theirs - mine)[:2]}")


THRESHOLD = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*-?\d[\d.]*(e\d+)?(\s*\*\s*\d+)?\s*$")


def ask_rules(native, kafka):
    found, wrong, here, there = {}, [], rules_of(native), rules_of(kafka)
    check("both Prometheus have the same rules", here.keys() ^ there.keys())
    for (group, name, query), rule in here.items():
        for told in (rule, there[group, name, query]):
            if told["health"] != "ok" or told.get("lastError"):
                wrong.append(f"{name}: {told.get('lastError') or told['health']}")
        asked = [("", query)]
        if rule["type"] == "alerting" and THRESHOLD.search(query):
            asked.append((" without its threshold", THRESHOLD.sub("", query)))
        for suffix, expr in asked:
            mine, theirs = len(native.query(expr)), len(kafka.query(expr))
            if bool(mine) != bool(theirs) and (rule["type"], name) not in expected.LATER_IN_RULES:
                wrong.append(f"{name}{suffix}: {mine} series, and {theirs} under the names of kafka_exporter")
            found[rule["type"], name + suffix] = mine
            TABLE.add(group, name + suffix, expr, mine, theirs)
    check("every rule can be asked, and has something to tell under both namings or neither", wrong)
    hold(found, expected.NOTHING_IN_RULES, expected.LATER_IN_RULES, "rules")


def rules_of(prometheus):
    groups = prometheus.api("rules")["groups"]
    return {(group["name"], rule["name"], rule["query"]): rule for group in groups for rule in group["rules"]}


# What fires.


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes down what Alertmanager tells: {labels: the last status}."""

    told = {}

    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            self.told[frozenset(alert["labels"].items())] = alert["status"]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def firing(rows):
    """{(instance or region, group or topic): alerts}"""
    out = {}
    for labels in rows:
        where = labels.get("instance_id") or labels.get("region") or labels.get("instance", "")
        about = labels.get("group") or labels.get("topic") or ""
        out.setdefault((where, about), set()).add(labels["alertname"])
    return out


def now_firing(prometheus):
    return {frozenset(a["labels"].items()) for a in prometheus.api("alerts")["alerts"] if a["state"] == "firing"}


def ever_fired(prometheus):
    """Whatever has fired since the start, and be it for a moment."""
    rows = prometheus.query('count_over_time(ALERTS{alertstate="firing"}[1h])')
    return [row["metric"] for row in rows]


def confusion(have, want):
    """What fires and should not, and what should and does not."""
    for key in sorted(have.keys() | want.keys()):
        for alert in sorted(have.get(key, set()) - want.get(key, set()) - expected.MAYBE.get(key, {}).keys()):
            yield f"{alert} fires for {key}, and should not"
        for alert in sorted(want.get(key, set()) - have.get(key, set())):
            yield f"{alert} does not fire for {key}"


def joined(*tables):
    out = {}
    for table in tables:
        for key, alerts in table.items():
            out[key] = out.get(key, set()) | alerts
    return out


def watched(what, seconds, look, want):
    """Waits until all is as it should be, and tells what is not."""
    deadline = time.monotonic() + seconds
    while (wrong := list(confusion(look(), want))) and time.monotonic() < deadline:
        time.sleep(1)
    check(f"{what} ({sum(map(len, want.values()))} alerts)", wrong)


def notified():
    return firing(dict(labels) for labels in Receiver.told)


def check_alerts(native, kafka, group, places):
    want = expected.ALERTS
    scenarios = json.loads(fetch(f"{cloud(places)}/scenarios")[0])
    uncovered = [s for s in scenarios if (s["instance"], s["object"]) not in want and s["kind"] not in expected.NO_ALERT]
    check(f"each of the {len(scenarios)} failure scenarios has an alert, or a reason for none", uncovered)
    sound = {key for key in want if not any((s["instance"], s["object"]) == key for s in scenarios)}
    check("no alert is expected of what is sound", sound - expected.NOT_OF_THE_WORLD)
    watched("in Prometheus each scenario has its alerts, and nothing else has had any", 30,
            lambda: firing(ever_fired(native)), want)
    watched("the same under the names of kafka_exporter", 10, lambda: firing(ever_fired(kafka)), want)
    coarse = {key: alerts - expected.OF_TOPICS for key, alerts in want.items()}
    watched("the same where the page has groups alone, but for alerts about topics", 10,
            lambda: firing(ever_fired(group)), coarse)
    watched("Alertmanager has told a receiver of them all, and of no others", 20, notified, want)
    check_teams()
    lacking = [a for a in native.api("alerts")["alerts"]
               if not (ROOT / a["annotations"].get("runbook_url", "?")).is_file()
               or not all(a["annotations"].get(k, "").strip() for k in ("summary", "description"))
               or "error" in a["annotations"]["summary"] + a["annotations"]["description"]
               or "severity" not in a["labels"]]
    check("every alert that fires has a severity, a summary, a description, and a page of the runbook that is there",
          [f"{a['labels']['alertname']}: {a['annotations'].get('runbook_url')}" for a in lacking])


def check_teams():
    teams = [sorted(labels) for labels in Receiver.told for instance in [dict(labels).get("instance_id")]
             if instance and dict(labels).get("team") != expected.TEAMS.get(instance)
             and dict(labels)["alertname"] not in expected.ABOUT_FILES]
    check("every alert about an instance has the team of its tag, and none where there is no tag", teams)


def break_it(native, running, places, all_dashboards):
    """One instance cannot be read, then the whole cloud is gone."""
    fault = {"effect": "error", "status": 500, "instance": expected.DEVICES}
    post(f"{cloud(places)}/faults", json.dumps(fault).encode())
    watched("one instance that cannot be read has an alert of its own, and nothing else has", 20,
            lambda: without_stale(firing(ever_fired(native))), joined(expected.ALERTS, expected.ONE_DOWN))
    before = now_firing(native)
    running.end("simulator", signal.SIGKILL)
    ended = set()

    def look():
        ended.update(before - now_firing(native))
        return firing(ever_fired(native))

    watched("without a cloud every instance is down and its data stale, and each region is down", 60, look,
            joined(expected.ALERTS, expected.ALL_DOWN))
    check("by then the page has no lag of any group", native.query("count(alikafka_group_lag_messages)"))
    may_end = expected.ABOUT_FILES.union(*expected.MAYBE.values())
    lost = [sorted(labels) for labels in ended if dict(labels)["alertname"] not in may_end]
    check(f"none of the {len(before)} alerts ended because the cloud did", lost)
    watched("Alertmanager has told the receiver", 20, notified, joined(expected.ALERTS, expected.ALL_DOWN))
    check_teams()
    ask_again(native, all_dashboards)


def ask_again(native, all_dashboards):
    """What had nothing to show while the cloud was there."""
    empty = []
    for dashboard in all_dashboards:
        choices = dashboard.choices(native)
        for what, expr in dashboard.targets():
            if (dashboard.file, what) in expected.LATER_ON_DASHBOARDS and not dashboards.asks(
                    native, expr, choices, time.time(), LOOK_SECONDS):
                empty.append(f"{dashboard.file}: {what}")
    for (_, name, query), rule in rules_of(native).items():
        if (rule["type"], name) in expected.LATER_IN_RULES and not native.query(query):
            empty.append(name)
    check("now there is something to see where a missing cloud is to be seen", empty)


def without_stale(alerts):
    """Data of one instance that cannot be read grows stale too, at its own time."""
    return {key: names - {"AliKafkaDataStale"} for key, names in alerts.items()}


def main():
    stack, cloud = compose.load("compose.yaml"), compose.load("compose.cloud.yaml")
    check("compose.yaml keeps its promises", compose.promises(stack))
    check("compose.cloud.yaml leaves nothing of the simulator", compose.wrong_override(stack, cloud))
    all_dashboards = dashboards.load(ROOT / "dashboards")
    check("Grafana's provisioning leads to the Prometheus of the stack and to the dashboards",
          compose.wrong_grafana(stack, {b.file for b in all_dashboards}))
    exporter = str(TARGET / "debug/alikafka-exporter")
    check("the configuration for a real account is sound",
          compose.without_a_cloud(compose.merged(stack, cloud), exporter, DIR))
    ports = free_ports(["exporter", "simulator", "prometheus", "alertmanager", "kafka_exporter", "kafka_prometheus",
                        "group_exporter", "group_prometheus"])
    secrets = {name: (compose.HERE / source["file"]).resolve() for name, source in stack["secrets"].items()}
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    places = {**ports, **secrets, "webhook": receiver.server_port, "dir": str(DIR), "target": str(TARGET / "debug")}
    files(stack, places)
    running = start(stack, places)
    began = time.monotonic()
    try:
        native, kafka, group = (Prometheus(f"http://127.0.0.1:{places[name]}")
                                for name in ("prometheus", "kafka_prometheus", "group_prometheus"))
        prove(stack, running, places, all_dashboards, (native, kafka, group), began)
    except Exception as error:
        check(f"the proof went to its end: {error!r}", [error])
        raise
    finally:
        check("no process ended by itself", running.died())
        if counts["failed"]:
            for name in running.running:
                print(f"--- end of the log of {name}\n{running.tail(name)}", file=sys.stderr)
        running.end_all()


def prove(stack, running, places, all_dashboards, prometheus, began):
    native, kafka, group = prometheus
    for name, port in places.items():
        if name.endswith(("prometheus", "alertmanager")):
            wait_for(f"{name} is ready", 30, lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
    for service in ("simulator", "prometheus", "alertmanager"):
        right, test = compose.health(stack, service)
        check(f"the health check of {service} asks what is there", [] if right else [test])
    probe = [str(TARGET / "debug/alikafka-simulator"), f"--listen=127.0.0.1:{places['simulator']}", "--probe"]
    said = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    check("the simulator's health check says that it is well", [said.stderr] * said.returncode)
    for service, (_, url) in compose.HEALTH.items():
        check(f"that of {service} too", [] if answers(url.format(**places)) else [url])
    for port in EXPORTERS.values():
        page = lambda: fetch(f"http://127.0.0.1:{places[port]}/metrics")[0]
        wait_for(f"{port} has read both regions", 30, lambda: page().count(b"\nalikafka_region_up{") == 2)
    mishaps = small_mishaps(running, places)
    next(mishaps)
    linked = native.api("alertmanagers")["activeAlertmanagers"]
    check("Prometheus sends alerts to the Alertmanager of the stack",
          [] if [a["url"] for a in linked] == [f"http://127.0.0.1:{places['alertmanager']}/api/v2/alerts"] else linked)
    time.sleep(max(0, WATCHED_SECONDS - 15 - (time.monotonic() - began)))
    next(mishaps)
    time.sleep(max(0, WATCHED_SECONDS - (time.monotonic() - began)))
    check("every target is up", [t["lastError"] for p in prometheus for t in p.api("targets")["activeTargets"]
                                 if t["health"] != "up"])
    ask_dashboards(all_dashboards, native, kafka, group, began)
    passed("dashboards", began)
    ask_rules(native, kafka)
    passed("rules", began)
    check_alerts(native, kafka, group, places)
    passed("alerts", began)
    break_it(native, running, places, all_dashboards)
    passed("outage", began)


def passed(what, began):
    print(f"      {what}: {time.monotonic() - began:.0f}s since the start", flush=True)


main()
print(f"\n{counts['passed']} ok, {counts['failed']} failed")
lines = TABLE.lines()
(TARGET / "stack").mkdir(exist_ok=True)
(TARGET / "stack/expressions.txt").write_text("\n".join(lines) + "\n")
print(f"{len(lines) - 1} expressions were asked: target/stack/expressions.txt")
sys.exit(1 if counts["failed"] or len(lines) < 2 else 0)
