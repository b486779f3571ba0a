"""Tests the Compose stack, the dashboards and the rules (see `run`). Standard library and PyYAML.

The failure scenarios run in real time. Three exporters poll them: the one of the stack, one with kafka_exporter's names,
and one with granularity group and a named account. Each has a Prometheus with all rules; the first has Alertmanager.
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
# Replacements that shorten the waiting times in the rules.
SHORT_WAITS = [
    (r"(?m)^(\s+for:) \S+$", r"\1 6s"),
    (r"(?m)^(\s+keep_firing_for:) \S+\n", ""),
    (r"> 420\b", "> 30"),
    (r"> 1200\b", "> 30"),
    (r"(last_success_timestamp_seconds:max\[)5m\]", r"\g<1>20s]"),
]
# Time before the dashboards are checked: a status window, an offset reset, and some rates.
WATCHED_SECONDS = 52
# Time range of graphs.
LOOK_SECONDS = 30
LIBC = ctypes.CDLL(None)
common.MAX_PROBLEMS = 40


class Stack:
    """Processes that stop with this one."""

    def __init__(self):
        self.running = {}

    def start(self, name, argv):
        log = open(DIR / f"{name}.log", "wb")
        stop_with_parent = lambda: LIBC.prctl(1, signal.SIGKILL)
        self.running[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                              preexec_fn=stop_with_parent)

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


def responds(url):
    try:
        return fetch(url)[0] is not None
    except OSError:
        return False


# Processes.


def files(stack, places):
    """Writes the configurations of all services, and the rules with short waiting times."""
    (DIR / "rules").mkdir()
    sources = sorted((ROOT / "config/rules").glob("*.rules.yml"))
    used = {pattern: 0 for pattern, _ in SHORT_WAITS}
    for source in sources:
        text = source.read_text()
        for pattern, quick in SHORT_WAITS:
            text, n = re.subn(pattern, quick, text)
            used[pattern] += n
        if source.name == "alikafka-thresholds.rules.yml":
            text = expected.THRESHOLDS
        (DIR / "rules" / source.name).write_text(text)
    check("every pattern for shorter waiting times occurs in the rules", [p for p, n in used.items() if not n])
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
        check(f"{Path(argv[0]).name} knows every flag of {service}", compose.unknown_flags(argv))
    result = subprocess.run(["promtool", "check", "config", str(DIR / "prometheus.yml")], capture_output=True, text=True)
    check("promtool accepts the configuration and the rules", [result.stdout + result.stderr] * result.returncode)
    result = subprocess.run(["amtool", "check-config", str(DIR / "alertmanager.yml")], capture_output=True, text=True)
    check("amtool accepts the configuration", [result.stdout + result.stderr] * result.returncode)
    running = Stack()
    # Starts the cloud first, so that no exporter has startup failures that the others do not have.
    running.start("simulator", lines.pop("simulator"))
    wait_for("the simulator responds", 20, lambda: responds(f"{cloud(places)}/scenarios"))
    for service, argv in lines.items():
        running.start(service, argv)
    return running


def cloud(places):
    return f"http://127.0.0.1:{places['simulator']}/_sim"


def post(url, body=None):
    urllib.request.urlopen(urllib.request.Request(url, method="POST", data=body), timeout=10).close()


EXPORTERS = {"exporter": "exporter", "kafka-exporter": "kafka_exporter", "group-exporter": "group_exporter"}


def small_problems(running, places):
    """Causes small problems that dashboards show: failed and retried calls, a rejected client, a configuration reload, and a
    recreated topic."""
    fault = {"effect": "error", "status": 503, "action": "GetTopicStatus", "region": "eu-central-1",
             "probability": 0.2, "seed": 7}
    post(f"{cloud(places)}/faults", json.dumps(fault).encode())
    reject_client(places)
    yield "first"
    reject_client(places)
    for name in EXPORTERS:
        running.running[name].send_signal(signal.SIGHUP)
    post(f"{cloud(places)}/recreate?instance={expected.LOGS}&topic=import-2024")
    yield "second"


def reject_client(places):
    for port in EXPORTERS.values():
        with socket.create_connection(("127.0.0.1", places[port]), 5) as client:
            client.sendall(b"no request\r\n\r\n")
            client.recv(200)


# Expressions.


class Table:
    """Every evaluated expression with its number of series: in the stack, with kafka_exporter's names, and with granularity
    group."""

    def __init__(self):
        self.rows = []

    def add(self, where, what, expr, *found):
        self.rows.append((where, what, *(*found, "", "")[:3], " ".join(expr.split())))

    def lines(self):
        rows = [("where", "what", "native", "kafka", "group", "expression"), *self.rows]
        return [f"{w:<30.30} {what:<64.64} {a:>6} {b:>6} {c:>6}  {expr:.120}" for w, what, a, b, c, expr in rows]


TABLE = Table()


def check_found(found, table, later, what):
    """Checks that exactly the listed expressions return nothing, and that the lists are up to date."""
    check(f"{what}: each of {len(found)} expressions returns series, except {len(table)} listed ones and "
          f"{len(later)} that need an outage",
          [f"{where}: {name}" for (where, name), n in found.items() if not n and (where, name) not in {*table, *later}])
    check(f"{what}: the listed expressions return nothing", [f"{key} has series" for key in table if found.get(key)])
    check(f"{what}: the listed expressions exist", [f"{key} does not exist" for key in {*table, *later} - found.keys()])


NO_UPPER_BOUND = "alikafka_group_lag_messages > 0 unless on (region, instance_id, group) alikafka_group_lag_seconds"


def check_dashboards(all_dashboards, native, kafka, group, began):
    """Evaluates every expression of the dashboards in all three Prometheus."""
    now, every, found, wrong, coarse, unbounded = time.time(), (native, kafka, group), {}, [], {}, {}
    finer = metric_names(native) - metric_names(group)
    for dashboard in all_dashboards:
        check(f"{dashboard.file}: all variables are defined", dashboard.unknown_variables())
        choices = dashboard.choices(native)
        empty = [name for name, query in dashboard.queries()
                 if not dashboards.variable_values(native, dashboards.substituted(query, choices[0]), dashboard.variables[name].get("regex"))]
        # Only the third exporter has a named account.
        check(f"{dashboard.file}: every variable has values", set(empty) - {"account"})
        accounts = [dashboards.variable_values(group, query) for name, query in dashboard.queries() if name == "account"]
        check(f"{dashboard.file}: named accounts can be selected", [a for a in accounts if a != ["生产"]])
        for what, expr in dashboard.targets():
            while (dashboard.file, what) in found:
                what += "'"
            # Several groups have an upper bound only if each has one. Some have none here, so each group is selected separately.
            chosen = choices
            if "unless on ()" in expr:
                chosen = dashboard.one_by_one("group", native)
                unbounded[dashboard.file, what] = dashboards.all_series(native, expr, choices, now, 0)
            evaluate = lambda of: dashboards.all_series(of, expr, chosen, now, LOOK_SECONDS)
            try:
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    mine, theirs, few = pool.map(evaluate, every)
            except RuntimeError as error:
                wrong.append(f"{dashboard.file}, {what}: {error}")
                continue
            found[dashboard.file, what] = len(mine)
            TABLE.add(dashboard.file, what, expr, f"{len(mine)}", f"{len(theirs)}", f"{len(few)}")
            if (dashboard.file, what) in expected.LATER_ON_DASHBOARDS:
                continue
            if mine and not few:
                coarse[dashboard.file, what] = expr
            # An annotation marks a change between two polls of one exporter; the other exporter sees different changes.
            if what.startswith("annotation ") and mine and theirs:
                continue
            if mine != theirs and (differ := settle(native, kafka, expr, chosen, began)):
                wrong.append(f"{dashboard.file}, {what}: {differ}")
    check("every dashboard expression is valid and returns the same series with both namings", wrong)
    without = dashboards.series(native, NO_UPPER_BOUND, now, 0, 1)
    check(f"several groups have no upper bound while {len(without)} groups with lag have none",
          [key for key, rows in unbounded.items() if rows] if without and unbounded else ["no data"])
    check_found(found, expected.NOTHING_ON_DASHBOARDS, expected.LATER_ON_DASHBOARDS, "dashboards")
    check(f"with granularity group, {len(coarse)} expressions are empty, and each needs series of topics or partitions",
          [f"{key}: {expr}" for key, expr in coarse.items() if not finer & set(re.findall(r"[a-z_]{9,}", expr))])


def metric_names(prometheus):
    return set(prometheus.api("label/__name__/values"))


def settle(native, kafka, expr, choices, began):
    """Returns the differences that remain over the time range of the entire run, because two exporters poll at different
    times and may see short-lived series differently."""
    for _ in range(3):
        now = time.time()
        mine, theirs = (dashboards.all_series(of, expr, choices, now, time.monotonic() - began, 2) for of in (native, kafka))
        differ = mine ^ theirs
        few = len(differ) <= max(2, len(mine) // 2)
        if not differ or few and re.search(expected.TIME_DEPENDENT, expr):
            return ""
        time.sleep(1)
    return (f"{len(mine)} and {len(theirs)}; only with native names {sorted(mine - theirs)[:2]}, only with "
            f"kafka_exporter's names {sorted(theirs - mine)[:2]}")


THRESHOLD = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*-?\d[\d.]*(e\d+)?(\s*\*\s*\d+)?\s*$")


def check_rules(native, kafka):
    found, wrong, here, there = {}, [], rules_of(native), rules_of(kafka)
    check("both Prometheus servers have the same rules", here.keys() ^ there.keys())
    for (group, name, query), rule in here.items():
        for loaded in (rule, there[group, name, query]):
            if loaded["health"] != "ok" or loaded.get("lastError"):
                wrong.append(f"{name}: {loaded.get('lastError') or loaded['health']}")
        expressions = [("", query)]
        if rule["type"] == "alerting" and THRESHOLD.search(query):
            expressions.append((" without its threshold", THRESHOLD.sub("", query)))
        for suffix, expr in expressions:
            mine, theirs = len(native.query(expr)), len(kafka.query(expr))
            if bool(mine) != bool(theirs) and (rule["type"], name) not in expected.LATER_IN_RULES:
                wrong.append(f"{name}{suffix}: {mine} series, and {theirs} with kafka_exporter's names")
            found[rule["type"], name + suffix] = mine
            TABLE.add(group, name + suffix, expr, mine, theirs)
    check("every rule is valid, and returns series with both namings or neither", wrong)
    check_found(found, expected.NOTHING_IN_RULES, expected.LATER_IN_RULES, "rules")


def rules_of(prometheus):
    groups = prometheus.api("rules")["groups"]
    return {(group["name"], rule["name"], rule["query"]): rule for group in groups for rule in group["rules"]}


# Alerts.


class Receiver(http.server.BaseHTTPRequestHandler):
    """Records the notifications of Alertmanager: {labels: last status}."""

    notified = {}

    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            self.notified[frozenset(alert["labels"].items())] = alert["status"]
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
    """Waits until the alerts are as expected, and reports the differences."""
    deadline = time.monotonic() + seconds
    while (wrong := list(confusion(look(), want))) and time.monotonic() < deadline:
        time.sleep(1)
    check(f"{what} ({sum(map(len, want.values()))} alerts)", wrong)


def notified():
    return firing(dict(labels) for labels in Receiver.notified)


def check_alerts(native, kafka, group, places):
    want = expected.ALERTS
    scenarios = json.loads(fetch(f"{cloud(places)}/scenarios")[0])
    uncovered = [s for s in scenarios if (s["instance"], s["object"]) not in want and s["kind"] not in expected.NO_ALERT]
    check(f"each of the {len(scenarios)} failure scenarios has an alert, or a reason for none", uncovered)
    sound = {key for key in want if not any((s["instance"], s["object"]) == key for s in scenarios)}
    check("no alert is expected for healthy objects", sound - expected.NOT_SIMULATED)
    watched("in Prometheus each scenario has its alerts, and nothing else has had any", 30,
            lambda: firing(ever_fired(native)), want)
    watched("the same under the names of kafka_exporter", 10, lambda: firing(ever_fired(kafka)), want)
    coarse = {key: alerts - expected.OF_TOPICS for key, alerts in want.items()}
    watched("the same with granularity group, except alerts on topics", 10,
            lambda: firing(ever_fired(group)), coarse)
    watched("Alertmanager has notified a receiver of exactly these alerts", 20, notified, want)
    check_teams()
    lacking = [a for a in native.api("alerts")["alerts"]
               if not (ROOT / a["annotations"].get("runbook_url", "?")).is_file()
               or not all(a["annotations"].get(k, "").strip() for k in ("summary", "description"))
               or "error" in a["annotations"]["summary"] + a["annotations"]["description"]
               or "severity" not in a["labels"]]
    check("every firing alert has a severity, a summary, a description, and an existing runbook",
          [f"{a['labels']['alertname']}: {a['annotations'].get('runbook_url')}" for a in lacking])


def check_teams():
    teams = [sorted(labels) for labels in Receiver.notified for instance in [dict(labels).get("instance_id")]
             if instance and dict(labels).get("team") != expected.TEAMS.get(instance)
             and dict(labels)["alertname"] not in expected.ABOUT_FILES]
    check("every alert about an instance has the team of its tag, and no team without a tag", teams)


def break_it(native, running, places, all_dashboards):
    """Makes one instance unreadable, then stops the cloud."""
    fault = {"effect": "error", "status": 500, "instance": expected.DEVICES}
    post(f"{cloud(places)}/faults", json.dumps(fault).encode())
    watched("only the unreadable instance has additional alerts", 20,
            lambda: without_stale(firing(ever_fired(native))), joined(expected.ALERTS, expected.ONE_DOWN))
    before = now_firing(native)
    running.end("simulator", signal.SIGKILL)
    ended = set()

    def look():
        ended.update(before - now_firing(native))
        return firing(ever_fired(native))

    watched("without a cloud, every instance is down with stale data, and every region is down", 60, look,
            joined(expected.ALERTS, expected.ALL_DOWN))
    check("by then, no group has lag series", native.query("count(alikafka_group_lag_messages)"))
    may_end = expected.ABOUT_FILES.union(*expected.MAYBE.values())
    lost = [sorted(labels) for labels in ended if dict(labels)["alertname"] not in may_end]
    check(f"none of the {len(before)} alerts resolved because the cloud disappeared", lost)
    watched("Alertmanager has notified the receiver", 20, notified, joined(expected.ALERTS, expected.ALL_DOWN))
    check_teams()
    check_outage_expressions(native, all_dashboards)


def check_outage_expressions(native, all_dashboards):
    """Checks the expressions that need an outage."""
    empty = []
    for dashboard in all_dashboards:
        choices = dashboard.choices(native)
        for what, expr in dashboard.targets():
            if (dashboard.file, what) in expected.LATER_ON_DASHBOARDS and not dashboards.all_series(
                    native, expr, choices, time.time(), LOOK_SECONDS):
                empty.append(f"{dashboard.file}: {what}")
    for (_, name, query), rule in rules_of(native).items():
        if (rule["type"], name) in expected.LATER_IN_RULES and not native.query(query):
            empty.append(name)
    check("the expressions that need an outage return series now", empty)


def without_stale(alerts):
    """Removes AliKafkaDataStale, which an unreadable instance raises later."""
    return {key: names - {"AliKafkaDataStale"} for key, names in alerts.items()}


def main():
    stack, cloud = compose.load("compose.yaml"), compose.load("compose.cloud.yaml")
    check("compose.yaml meets its guarantees", compose.violations(stack))
    check("compose.cloud.yaml removes the simulator", compose.wrong_override(stack, cloud))
    all_dashboards = dashboards.load(ROOT / "dashboards")
    check("Grafana's provisioning refers to the Prometheus of the stack and to the dashboards",
          compose.wrong_grafana(stack, {b.file for b in all_dashboards}))
    exporter = str(TARGET / "debug/alikafka-exporter")
    check("the configuration for a real account is valid",
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
        check(f"the suite ran to its end: {error!r}", [error])
        raise
    finally:
        check("no process exited unexpectedly", running.died())
        if counts["failed"]:
            for name in running.running:
                print(f"--- end of the log of {name}\n{running.tail(name)}", file=sys.stderr)
        running.end_all()


def prove(stack, running, places, all_dashboards, prometheus, began):
    native, kafka, group = prometheus
    for name, port in places.items():
        if name.endswith(("prometheus", "alertmanager")):
            wait_for(f"{name} is ready", 30, lambda: responds(f"http://127.0.0.1:{port}/-/ready"))
    for service in ("simulator", "prometheus", "alertmanager"):
        right, test = compose.health(stack, service)
        check(f"the health check of {service} is as expected", [] if right else [test])
    probe = [str(TARGET / "debug/alikafka-simulator"), f"--listen=127.0.0.1:{places['simulator']}", "--probe"]
    result = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    check("the simulator's health check succeeds", [result.stderr] * result.returncode)
    for service, (_, url) in compose.HEALTH.items():
        check(f"the health check of {service} succeeds", [] if responds(url.format(**places)) else [url])
    for port in EXPORTERS.values():
        exposition = lambda: fetch(f"http://127.0.0.1:{places[port]}/metrics")[0]
        wait_for(f"{port} has polled both regions", 30, lambda: exposition().count(b"\nalikafka_region_up{") == 2)
    problems = small_problems(running, places)
    next(problems)
    linked = native.api("alertmanagers")["activeAlertmanagers"]
    check("Prometheus sends alerts to the Alertmanager of the stack",
          [] if [a["url"] for a in linked] == [f"http://127.0.0.1:{places['alertmanager']}/api/v2/alerts"] else linked)
    time.sleep(max(0, WATCHED_SECONDS - 15 - (time.monotonic() - began)))
    next(problems)
    time.sleep(max(0, WATCHED_SECONDS - (time.monotonic() - began)))
    check("every target is up", [t["lastError"] for p in prometheus for t in p.api("targets")["activeTargets"]
                                 if t["health"] != "up"])
    check_dashboards(all_dashboards, native, kafka, group, began)
    passed("dashboards", began)
    check_rules(native, kafka)
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
print(f"{len(lines) - 1} expressions were evaluated: target/stack/expressions.txt")
sys.exit(1 if counts["failed"] or len(lines) < 2 else 0)
