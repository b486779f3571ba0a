"""Compares the responses of Prometheus' HTTP API with the simulator's truth. Standard library only.

The simulated world is frozen until all of it has been read, moves for a while, and is frozen again. Once everything has been
polled and scraped after that, the series in Prometheus must equal the truth: the same set, and the same values. Values above
2^53 are compared as the nearest float64, because Prometheus stores no other numbers. At the end, kafka_exporter.py checks the
assets made for kafka_exporter with a separate exporter and Prometheus.
"""

import gzip
import http.client
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import kafka_exporter
from common import ANY, MAYBE, Prometheus, check, counts, differences, escaped, fetch, quoted, samples, series, wait_for

CLOUD, EXPORTER, DIR = sys.argv[1], sys.argv[2], Path(sys.argv[4])
PROMETHEUS = Prometheus(sys.argv[3])
KAFKA, KAFKA_PROMETHEUS = sys.argv[5], Prometheus(sys.argv[6])
api, query = PROMETHEUS.api, PROMETHEUS.query
ROOT = Path(__file__).resolve().parents[2]
JOBS = ("alikafka-exporter", "gzip", "plain")
JOB = JOBS[0]
MOVES_SECONDS = 24
# Starts before the movement, so that it covers all writes.
WINDOW = f"{MOVES_SECONDS + 6}s"
# Fleet metrics, which do not change while the world is frozen; no self-metrics.
FLEET = re.compile(r"alikafka_(topic|group|instance|region)_.+|alikafka_exporter_objects")
POLL_TIMES = re.compile(r"alikafka_(instance|region)_last_success_timestamp_seconds")
# Metrics that change while the world is frozen, because ages grow and windows fill.
CHANGING = re.compile(r"alikafka_group_.*(lag_seconds|floor_seconds|status|per_second|catch_up_seconds|eta_seconds)")


def sim(path, method="GET"):
    return json.loads(fetch(f"{CLOUD}/_sim/{path}", method=method)[0])


# Expected series by the truth.

VIEW_STATES = {0: "pending", 1: "deploying", 2: "running", 3: "stopped", 5: "expired"}
SERVICE_STATES = {0: "pending", 1: "deploying", 5: "running", 10: "released", 15: "expired"}
STATES = """pending deploying running stopped expiring expired released upgrading migrating stopping starting
releasing scaling failed unknown""".split()


def expected(truth):
    want = {}

    def put(family, labels, value, **more):
        key = series(family, {**labels, **{k: str(v) for k, v in more.items()}})
        assert key not in want, f"duplicate in the truth: {key}"
        want[key] = value

    for region, r in truth["regions"].items():
        of = {"region": region}
        serving = [i for i in r["instances"].values() if i["in_service"]]
        put("alikafka_region_up", of, 1)
        for scope in ("discovery", "topics", "groups"):
            put("alikafka_region_last_success_timestamp_seconds", of, ANY, scope=scope)
        for kind, number in (("instances", len(r["instances"])), *(
            (k, sum(len(i[k]) for i in serving)) for k in ("topics", "groups")
        )):
            put("alikafka_exporter_objects", of, number, kind=kind)
        for instance_id, instance in r["instances"].items():
            put_instance(put, {**of, "instance_id": instance_id}, instance)
    return want


def put_instance(put, of, instance):
    # The truth only contains the name; the other labels of the info series are dropped before comparing.
    put("alikafka_instance_info", of, 1, name=instance["name"])
    tags = dict(instance["tags"])
    put("alikafka_instance_tags", of, 1, tag_team=tags["team"], tag___=tags["环境"])
    view = instance["view_status"]
    state = SERVICE_STATES[instance["service_status"]] if view is None else VIEW_STATES[view]
    for other in STATES:
        put("alikafka_instance_state", of, int(other == state), state=other)
    put("alikafka_instance_creation_timestamp_seconds", of, instance["created_ms"] / 1000)
    put("alikafka_instance_expiry_timestamp_seconds", of, instance["expires_ms"] / 1000)
    put("alikafka_instance_topics", of, len(instance["topics"]))
    put("alikafka_instance_groups", of, len(instance["groups"]))
    put("alikafka_instance_partitions", of, instance["partitions"])
    for name in ("topic_limit", "disk_size_bytes", "message_retention_seconds"):
        put(f"alikafka_instance_{name}", of, ANY)
    if not instance["in_service"]:
        return
    put("alikafka_instance_up", of, 1)
    for scope in ("discovery", "topics", "groups"):
        put("alikafka_instance_last_success_timestamp_seconds", of, ANY, scope=scope)
    readers = {}
    for group, g in instance["groups"].items():
        put("alikafka_group_info", of, 1, group=group)
        put_group(put, {**of, "group": group}, g)
        for topic, t in g["topics"].items():
            readers[topic] = readers.get(topic, 0) + any(p["committed"] is not None for p in t["partitions"])
    for topic, t in instance["topics"].items():
        of_topic = {**of, "topic": topic}
        storage, cleanup = ("local", "cloud")[not t["local"]], ("compact", "delete")[not t["compact"]]
        put("alikafka_topic_info", of_topic, 1, storage=storage, cleanup=cleanup)
        put("alikafka_topic_partitions", of_topic, len(t["partitions"]))
        put("alikafka_topic_messages", of_topic, t["messages"])
        put("alikafka_topic_groups", of_topic, readers.get(topic, 0))
        for p in t["partitions"]:
            n = p["partition"]
            put("alikafka_topic_partition_start_offset", of_topic, p["start"], partition=n)
            put("alikafka_topic_partition_end_offset", of_topic, p["end"], partition=n)
            if p["last_write_ms"] is not None:
                written = p["last_write_ms"] / 1000
                put("alikafka_topic_partition_last_write_timestamp_seconds", of_topic, written, partition=n)


GROUP_STATES = ("stable", "preparing_rebalance", "completing_rebalance", "empty", "dead")


def put_group(put, of, g):
    for other in GROUP_STATES:
        put("alikafka_group_state", of, int(other == g["state"].lower()), state=other)
    for name in ("rebalances_total", "last_rebalance_timestamp_seconds"):
        put(f"alikafka_group_{name}", of, MAYBE)
    committed = {
        topic: [p for p in t["partitions"] if p["committed"] is not None] for topic, t in g["topics"].items()
    }
    # A group without topics has no lag; the lag of a group without committed offsets is unknown.
    if not committed or any(committed.values()):
        put("alikafka_group_lag_messages", of, sum(lag(p) for ps in committed.values() for p in ps))
        put("alikafka_group_consumable_lag_messages", of, sum(consumable(p) for ps in committed.values() for p in ps))
        put_ages(put, "alikafka_group_lag", of, [p for ps in committed.values() for p in ps])
    for name in ("status", "catch_up_seconds"):
        put(f"alikafka_group_{name}", of, MAYBE)
    for topic, partitions in committed.items():
        of_topic = {**of, "topic": topic}
        if partitions:
            put("alikafka_group_topic_lag_messages", of_topic, sum(map(lag, partitions)))
            put("alikafka_group_topic_consumable_lag_messages", of_topic, sum(map(consumable, partitions)))
            put_ages(put, "alikafka_group_topic_lag", of_topic, partitions)
        for name in ("status", "consumed_messages_per_second", "produced_messages_per_second", "catch_up_seconds",
                     "data_loss_eta_seconds"):
            put(f"alikafka_group_topic_{name}", of_topic, MAYBE)
        for p in partitions:
            put_ages(put, "alikafka_group_partition_lag", of_topic, [p], partition=p["partition"])
            n, at, start = p["partition"], p["committed"], p["start"]
            put("alikafka_group_partition_offset", of_topic, at, partition=n)
            put("alikafka_group_partition_lag_messages", of_topic, lag(p), partition=n)
            put("alikafka_group_partition_lost_messages", of_topic, max(0, start - at), partition=n)
            if at >= start:
                put("alikafka_group_partition_retention_margin_messages", of_topic, at - start, partition=n)
            if p["last_consumed_ms"] is not None and not g["topics"][topic]["times_hidden"]:
                read = p["last_consumed_ms"] / 1000
                put("alikafka_group_partition_last_consumed_timestamp_seconds", of_topic, read, partition=n)


def put_ages(put, family, of, partitions, **more):
    """Expects both bounds to be 0 without lag; `check_ages` checks the others."""
    value = MAYBE if any(map(lag, partitions)) else 0
    put(f"{family}_seconds", of, value, **more)
    put(f"{family}_floor_seconds", of, value, **more)


def lag(p):
    return max(0, p["end"] - p["committed"])


def consumable(p):
    """Returns the number of unread messages that are still available."""
    return max(0, p["end"] - max(p["committed"], p["start"]))


def of_family(want, family):
    return {key: value for key, value in want.items() if key[0] == family}


def unnamed(want, family):
    return {("", key[1]): value for key, value in of_family(want, family).items()}


# The moving world.


def watch_it_move(froze_at):
    wait_for("the first pass of every region", 20, ready)
    wait_for("the first scrape of every job", 20, lambda: len(query("up")) == len(JOBS))
    before = sim("truth")
    wait_until_read(before["now_ms"], froze_at)
    sim("unfreeze", "POST")
    began = time.monotonic()
    promtool("the exposition of a moving world")
    time.sleep(max(0, MOVES_SECONDS - (time.monotonic() - began)))
    return before


def ready():
    try:
        return fetch(f"{EXPORTER}/-/ready")[1] is not None
    except urllib.error.HTTPError:
        return False


def promtool(what, exporter=EXPORTER, expected=()):
    body = fetch(f"{exporter}/metrics")[0]
    result = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30)
    lines = (result.stdout + result.stderr).decode().splitlines()
    check(f"promtool check metrics reports nothing about {what}",
          [line for line in lines if line not in expected] or [result] * (result.returncode if not expected else 0))


def check_movement(before, after, at):
    def ends(truth):
        return {
            series("", {"region": r, "instance_id": i, "topic": t, "partition": str(p["partition"])}): p["end"]
            for r, of_region in truth["regions"].items()
            for i, of_instance in of_region["instances"].items()
            for t, of_topic in of_instance["topics"].items()
            for p in of_topic["partitions"]
        }

    old, new = ends(before), ends(after)
    # The slope of numbers above 2^53 exceeds their precision only after large writes.
    grew = {key for key in old.keys() & new.keys() if new[key] - old[key] > 200}
    for function in ("deriv", "rate"):
        expr = f'{function}(alikafka_topic_partition_end_offset{{job="{JOB}"}}[{WINDOW}])'
        moved = samples(query(expr, at))
        slow = [f"{key}: {moved.get(key)}" for key in grew if not moved.get(key, 0) > 0]
        check(f"{function} of end offsets is positive for the {len(grew)} partitions with writes", slow)
    check("the world has partitions with writes", [] if len(grew) > 50 else [f"{len(grew)} only"])


# The frozen world.


def wait_until_read(frozen_ms, froze_at):
    def served():
        truth, responses = sim("truth"), sim("served")
        at = {(o["region"], o["instance"], kind, o[kind[:-1]]): o["at_ms"] for kind in ("topics", "groups")
              for o in responses[kind]}
        return all(
            at.get((region, instance_id, kind, name)) == frozen_ms
            for region, r in truth["regions"].items()
            for instance_id, i in r["instances"].items() if i["in_service"]
            for kind in ("topics", "groups")
            for name in i[kind]
        )

    def listed(exporter):
        body = fetch(f"{exporter}/metrics")[0].decode()
        times = [float(line.rsplit(" ", 1)[1]) for line in body.splitlines() if POLL_TIMES.match(line)]
        return times and min(times) > froze_at

    wait_for("lists, topics and groups polled after the freeze", 40,
             lambda: listed(EXPORTER) and listed(KAFKA) and served())
    read_at = time.time()
    for prometheus in (PROMETHEUS, KAFKA_PROMETHEUS):
        wait_for("each job scraped after that", 20, lambda: (rows := prometheus.query("timestamp(up)")) and all(
            float(row["value"][1]) > read_at + 0.5 for row in rows
        ))


def check_scrapes():
    check("up is 1 for every job", [row for row in query("up") if row["value"][1] != "1"])
    up = samples(query("min_over_time(up[10m])"), "job")
    check("up was 1 at every scrape", [f"{up}"] if set(up.values()) != {1.0} else [])
    counts = {row["metric"]["job"]: float(row["value"][1]) for row in query("count_over_time(up[10m])")}
    few = [f"{job}: {counts.get(job, 0)} scrapes" for job in JOBS if counts.get(job, 0) < 10]
    check(f"every job was scraped often: {counts}", few)
    targets = api("targets")["activeTargets"]
    check("no target has an error", [t["lastError"] for t in targets if t["lastError"] or t["health"] != "up"])
    for job, form in (
        ("gzip", "200 gzip "),
        ("plain", "200 identity text/plain; version=0.0.4"),
    ):
        forms = json.loads((DIR / f"{job}.json").read_text())["forms"]
        check(f"every response to job {job} was {' and '.join(forms)}",
              [f"{f}: {n}" for f, n in forms.items() if not f.startswith(form)])


def check_series(want):
    for job in JOBS:
        have = scraped(job)
        sure = sum(value is not MAYBE for value in want.values())
        check(f"job {job}: the {sure} series of the truth and at most {len(want) - sure} more, none missing, "
              "none unexpected, exact values", differences(have, want))
    for family in sorted({name for name, _ in want}):
        of = of_family(want, family)
        least = sum(value is not MAYBE for value in of.values())
        count = query(f'count({family}{{job="{JOB}"}})')
        number = float(count[0]["value"][1]) if count else 0
        check(f"{family}: {number:.0f} series", [] if least <= number <= len(of) else [(least, count, len(of))])
    fleet = f'count({{__name__=~"{FLEET.pattern}",job="{JOB}"}})'
    check("alikafka_exporter_series equals the number of fleet series",
          query(f'{fleet} != on () alikafka_exporter_series{{job="{JOB}"}}')
          + ([] if query(fleet) else ["there are none"]))


def scraped(job):
    rows = query(f'{{__name__=~"{FLEET.pattern}",job="{job}"}}')
    unknown = {"series", "spec_type", "version", "deploy_type", "paid_type", "disk_type"}
    out = {}
    for row in rows:
        extra = unknown if row["metric"]["__name__"] == "alikafka_instance_info" else ()
        for key, value in samples([row], *extra).items():
            out[key] = value if key not in out else float("nan")
    return out


def check_lag(want):
    partitions = f'alikafka_group_partition_lag_messages{{job="{JOB}"}}'
    by_topic, by_group = "region, instance_id, group, topic", "region, instance_id, group"
    check("sum by topic of the lag of partitions is the truth",
          differences(samples(query(f"sum by ({by_topic}) ({partitions})")),
                      unnamed(want, "alikafka_group_topic_lag_messages")))
    groups = unnamed(want, "alikafka_group_lag_messages")
    summed = samples(query(f"sum by ({by_group}) ({partitions})"))
    reading = {key: value for key, value in groups.items() if key in summed or value != 0}
    check("sum by group of the lag of partitions is the truth", differences(summed, reading))
    check("groups without topics have lag 0",
          [f"{k}: {v}" for k, v in groups.items() if k not in summed and v != 0])
    for fine, coarse, labels in (
        ("alikafka_group_partition_lag_messages", "alikafka_group_topic_lag_messages", by_topic),
        ("alikafka_group_topic_lag_messages", "alikafka_group_lag_messages", by_group),
    ):
        expr = f'{coarse}{{job="{JOB}"}} != on ({labels}) sum by ({labels}) ({fine}{{job="{JOB}"}})'
        check(f"{coarse} is the sum of {fine} in PromQL too", query(expr))
    total = sum(groups.values())
    check(f"sum of all lag is the truth, {total}",
          differences(samples(query(f'sum(alikafka_group_lag_messages{{job="{JOB}"}})')), {("", ()): total}))


def check_ages(truth, frozen_seconds):
    """Checks that the age of the oldest unread message is between its bounds. The clock of the cloud was stopped for a
    while, which looks like a slow clock to the exporter: the lower bound may be too high by that time."""
    of_group = "region, instance_id, group"
    wrong, number = [], 0
    bounds = [samples(query(f'alikafka_group_partition_lag{name}_seconds{{job="{JOB}"}}')) for name in ("", "_floor")]
    for region, r in truth["regions"].items():
        for instance_id, i in r["instances"].items():
            for group, g in i["groups"].items() if i["in_service"] else ():
                for topic, t in g["topics"].items():
                    for p in t["partitions"]:
                        labels = {"region": region, "instance_id": instance_id, "group": group, "topic": topic,
                                  "partition": str(p["partition"])}
                        upper = bounds[0].get(series("alikafka_group_partition_lag_seconds", labels))
                        lower = bounds[1].get(series("alikafka_group_partition_lag_floor_seconds", labels))
                        age = p["oldest_unread_age_ms"]
                        if age is None or (upper, lower) == (None, None):
                            continue
                        number += 1
                        if not (lower or 0) - frozen_seconds <= age / 1000 <= (age if upper is None else upper):
                            wrong.append(f"{labels}: {lower} <= {age / 1000} <= {upper}")
    check(f"the age of the oldest unread message is between its bounds for {number} partitions",
          wrong + ([] if number > 100 else ["few"]))
    fine = f'alikafka_group_partition_lag_floor_seconds{{job="{JOB}"}} > alikafka_group_partition_lag_seconds'
    check("no lower bound exceeds its upper bound", query(fine))
    for coarse, fine, labels in (
        ("alikafka_group_topic_lag_seconds", "alikafka_group_partition_lag_seconds", f"{of_group}, topic"),
        ("alikafka_group_topic_lag_floor_seconds", "alikafka_group_partition_lag_floor_seconds", f"{of_group}, topic"),
        ("alikafka_group_lag_seconds", "alikafka_group_topic_lag_seconds", of_group),
        ("alikafka_group_lag_floor_seconds", "alikafka_group_topic_lag_floor_seconds", of_group),
        ("alikafka_group_status", "alikafka_group_topic_status", of_group),
    ):
        both = f'{coarse}{{job="{JOB}"}} != on ({labels}) max by ({labels}) ({fine}{{job="{JOB}"}})'
        check(f"{coarse} is the largest {fine} in PromQL too", query(both))
    check("a status is an integer from 0 to 5",
          query('{__name__=~"alikafka_group(_topic)?_status"} > 5') + query('alikafka_group_topic_status % 1 != 0'))


def check_offsets(want):
    for family in ("alikafka_topic_partition_start_offset", "alikafka_topic_partition_end_offset",
                   "alikafka_group_partition_offset"):
        of = of_family(want, family)
        large = sum(value > 2**53 for value in of.values())
        check(f"{family}: {len(of)} values are equal, {large} of them above 2^53 as float64",
              [*differences(samples(query(f'{family}{{job="{JOB}"}}')), of), *([] if large else ["none is large"])])


def check_names(truth):
    instances = {i: v for r in truth["regions"].values() for i, v in r["instances"].items()}
    serving = [v for v in instances.values() if v["in_service"]]
    for label, metric, names in (
        ("topic", "alikafka_topic_info", {t for i in serving for t in i["topics"]}),
        ("group", "alikafka_group_info", {g for i in serving for g in i["groups"]}),
        ("name", "alikafka_instance_info", {i["name"] for i in instances.values()}),
        ("instance_id", "alikafka_instance_info", set(instances)),
    ):
        now = time.time()
        # Prometheus returns the values of entire blocks, so names of deleted objects are included.
        found = set(api(f"label/{label}/values", **{"match[]": metric, "start": now - 2, "end": now}))
        check(f"label {label}: all {len(names)} names are returned unchanged", names - found)
        unusual = {n for n in names if not re.fullmatch(r"[A-Za-z0-9_.-]+", n)}
        found = {n: {row["metric"][label] for row in query(f"{metric}{{{label}={quoted(n)}}}")} for n in unusual}
        check(f"label {label}: {len(unusual)} unusual names are found by an exact match",
              [f"{n!r}: {got}" for n, got in found.items() if got != {n}])
    every = " ".join(sorted({n for i in serving for n in (*i["topics"], *i["groups"])}))
    check("the world has Chinese, quotes, backslashes, line breaks, spaces, braces and emoji in names",
          [c for c in '订"\\\n{🚚%+' if c not in every])


def check_encodings():
    """Checks that all clients receive the same bytes of unchanging metrics."""
    def fleet(body):
        return [line for line in body.split(b"\n")
                if FLEET.match(name(line)) and not POLL_TIMES.match(name(line)) and not CHANGING.match(name(line))]

    def name(line):
        return re.sub(rb"^# (HELP|TYPE|UNIT) ", b"", line).decode()

    kept = json.loads((DIR / "gzip.json").read_text())
    for accept in ("text/plain;version=0.0.4", kept["request"]["accept"]):
        plain, found = fetch(f"{EXPORTER}/metrics", {"Accept": accept, "Accept-Encoding": "identity"})
        packed, how = fetch(f"{EXPORTER}/metrics", {"Accept": accept, "Accept-Encoding": "gzip"})
        wrong = [] if (found["Content-Encoding"], how["Content-Encoding"]) == (None, "gzip") else [f"{found} {how}"]
        a, b = fleet(plain), fleet(gzip.decompress(packed))
        wrong += [f"{x!r} != {y!r}" for x, y in zip(a, b) if x != y] + ["other lines"] * (len(a) != len(b))
        check(f"Accept {accept[:31]}: gzip and plain responses are equal, {len(plain)} bytes, {len(packed)} as gzip "
              f"({how['Content-Type']})", wrong)
    by_prometheus = fleet(gzip.decompress((DIR / "gzip.body").read_bytes()))
    check("Prometheus requests gzip", [] if "gzip" in kept["request"]["accept-encoding"] else [kept["request"]])
    if shutil.which("curl"):
        curl = ["curl", "-sS", "--compressed", "-H", f"Accept: {kept['request']['accept']}", f"{EXPORTER}/metrics"]
        body = fleet(subprocess.run(curl, capture_output=True, check=True, timeout=30).stdout)
        check(f"curl --compressed receives the same {len(body)} lines as Prometheus, byte by byte",
              [f"{a!r} != {b!r}" for a, b in zip(body, by_prometheus) if a != b]
              + [f"{len(body)} and {len(by_prometheus)} lines"] * (len(body) != len(by_prometheus)))
    else:
        print("      curl is not installed: its response was not compared")


def check_rules(want):
    groups = api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    written = sum(
        len(re.findall(r"^ *- (?:alert|record):", f.read_text(), re.M)) for f in ROOT.glob("config/rules/*.rules.yml")
    )
    check(f"all {written} rules are loaded", [] if len(rules) == written else [f"{len(rules)} are loaded"])
    check("every rule was evaluated without an error",
          [f"{r['name']}: {r['health']} {r.get('lastError', '')}" for r in rules if r["health"] != "ok"])
    known = f'group:alikafka_group_lag_messages:last_known{{job="{JOB}"}}'
    check("the recorded lag equals the truth",
          differences(unnamed_values(samples(query(known), "team")), unnamed(want, "alikafka_group_lag_messages")))

    def pending(name):
        alerts = (a for r in rules if r["name"] == name for a in r["alerts"])
        own = (a for a in alerts if a["labels"].get("job") == JOB)
        drop = ("alertname", "severity", "job", "team")
        return {
            series("", {k: v for k, v in a["labels"].items() if k not in drop}): float(a["value"]) for a in own
        }

    lost = {}
    for (_, labels), value in of_family(want, "alikafka_group_partition_lost_messages").items():
        key = series("", {k: v for k, v in labels if k != "partition"})
        lost[key] = lost.get(key, 0) + value
    lost = {key: value for key, value in lost.items() if value > 0}
    check(f"AliKafkaMessagesLost is pending for exactly the {len(lost)} with lost messages",
          [*differences(pending("AliKafkaMessagesLost"), lost), *([] if lost else ["the world has no such object"])])
    behind = {k: v for k, v in unnamed(want, "alikafka_group_lag_messages").items() if v > 100_000}
    check(f"AliKafkaGroupLagHigh is pending for exactly the {len(behind)} groups far behind",
          [*differences(pending("AliKafkaGroupLagHigh"), behind), *([] if behind else ["the world has no such object"])])
    expired = {k: v for k, v in unnamed(want, "alikafka_instance_state").items()
               if v == 1 and dict(k[1])["state"] == "expired"}
    check(f"AliKafkaInstanceExpired is pending for exactly the {len(expired)} expired instances",
          [*differences(pending("AliKafkaInstanceExpired"), expired), *([] if expired else ["the world has no such object"])])
    quiet = {"AliKafkaInstanceDown", "AliKafkaRegionDown", "AliKafkaDataStale", "AliKafkaApiThrottled",
             "AliKafkaExporterDown", "AliKafkaSeriesDropped", "AliKafkaNoRegion", "AliKafkaRegionSearchFailing",
             "AliKafkaReloadFailed", "AliKafkaInstanceUnwatched", "AliKafkaBudgetShort",
             "AliKafkaCredentialsExpiring", "AliKafkaCredentialsFailing", "AliKafkaClockSkewed", "AliKafkaAnswersOdd",
             "AliKafkaExporterPanicked", "AliKafkaLogLinesLost", "AliKafkaThresholdUnused"}
    check("no other alert is pending: nothing is down, stale, throttled or dropped",
          [a["labels"] for r in rules if r["name"] in quiet for a in r["alerts"]])


def unnamed_values(have):
    return {("", key[1]): value for key, value in have.items()}


def check_self_metrics():
    results = {row["metric"]["result"]: float(row["value"][1])
               for row in query(f'sum by (result) (alikafka_exporter_api_requests_total{{job="{JOB}"}})')}
    check(f"with topics and groups created and deleted, calls were ok or their object was gone: {results}",
          results.keys() - {"ok", "gone"})
    check("no instance and no region was ever incomplete",
          query("min_over_time(alikafka_instance_up[10m]) == 0 or min_over_time(alikafka_region_up[10m]) == 0"))


# The dashboards, queried like Grafana.

# Panels without data in a world without failures.
NOTHING_TO_SHOW = {
    "exporter.json": {
        "Failed API calls by action and result A", "Failed API calls in the time range A", "Rejected A",
        "Time to credential expiry A", "Retries A", "Response anomalies A", "Response anomalies in the time range A",
        "Exporter started ", "Configuration loaded ",
    },
    "fleet.json": {"Region incomplete ", "Expiring instances A", "Instance tags A"},
    "group.json": {
        "Status changes ", "Rebalances ",
        # Some groups with lag have no upper bound, so neither has their maximum. tests/stack checks each group.
        "Lag, upper bound A", "Lag in seconds B", "$topic: lag in seconds B",
        "Lag in seconds of the selected partitions B",
    },
    "topic.json": {"Topic recreated "},
}


def check_dashboards(want, at):
    groups = {dict(k[1])["group"] for k in of_family(want, "alikafka_group_info")}
    ids = {dict(k[1])["instance_id"] for k in of_family(want, "alikafka_instance_info")}
    # Selects the group with an unusual name that has the largest lag.
    key, _ = max(((k, v) for k, v in of_family(want, "alikafka_group_topic_lag_messages").items()
                  if not re.fullmatch(r"[\w-]+", dict(k[1])["group"])), key=lambda kv: kv[1])
    chosen = {("instance" if k == "instance_id" else k): v for k, v in key[1]}
    dashboards = sorted((ROOT / "dashboards").glob("*.json"))
    check(f"there are {len(dashboards)} dashboards", [] if len(dashboards) == len(NOTHING_TO_SHOW) else [dashboards])
    everything_is_read = all(of_family(want, "alikafka_topic_groups").values())
    shown = {}
    for path in dashboards:
        shown |= check_dashboard(path.name, json.loads(path.read_text()), chosen, groups, ids, everything_is_read, at)

    def values(family):
        return list(of_family(want, family).values())

    lags, lost = values("alikafka_group_lag_messages"), sum(values("alikafka_group_partition_lost_messages"))
    for title, value in (
        ("Total lag A", sum(lags)), ("Messages lost A", lost), ("Groups A", len(values("alikafka_group_info"))),
        ("Instances A", len(ids)), ("Instances B", 0), ("Regions B", 0),
    ):
        last = [float(row["values"][-1][1] if "values" in row else row["value"][1]) for row in shown["fleet.json", title]]
        check(f"fleet dashboard: {title} shows {value}, as in the truth", [] if last == [value] else [last])


def check_dashboard(name, dashboard, chosen, groups, ids, everything_is_read, at):
    panels = [p for panel in dashboard["panels"] for p in (panel, *panel.get("panels", []))]
    targets = [(f"{p['title']} {t['refId']}", t) for p in panels for t in p.get("targets", [])]
    targets += [(f"{a['name']} ", a) for a in dashboard["annotations"]["list"]]
    # Two panels may have the same title: each is queried.
    names = [title for title, _ in targets]
    targets = [(title + "'" * names[:i].count(title), target) for i, (title, target) in enumerate(targets)]
    everything = {v["name"]: v["allValue"] for v in dashboard["templating"]["list"] if v.get("allValue")}
    print(f"\n      {name + ': panel':<58} {'series':>6}  expression")
    shown = {}
    for title, target in targets:
        expr = substituted(target["expr"], everything)
        shown[name, title] = rows = evaluate(expr, target, at)
        print(f"      {title:<58} {len(rows):>6}  {' '.join(expr.split())[:80]}")
    print()
    empty = {title for (_, title), rows in shown.items() if not rows}
    if everything_is_read:
        empty = {title for title in empty if not re.search("ithout consumers|No consumers", title)}
    check(f"{name}: its {len(targets)} expressions evaluate and return data", sorted(empty - NOTHING_TO_SHOW[name]))

    if "group" in everything:
        reached = {row["metric"]["group"] for row in query(f'alikafka_group_info{{group=~"{everything["group"]}"}}', at)}
        check(f'{name}: "All" includes every group, even one whose name contains a line break', groups - reached)

    variables = {k: v for k, v in chosen.items() if k in everything}
    wrong = []
    for title, target in targets:
        rows = evaluate(substituted(target["expr"], {**everything, **{k: escaped(v) for k, v in variables.items()}}), target, at)
        for variable, value in variables.items():
            label = "instance_id" if variable == "instance" else variable
            wrong += [f"{title}: {row['metric']}" for row in rows if row["metric"].get(label, value) != value]
        if re.search(r"^(Total lag|Lag (by|of) )|: lag by", title) and "group" in variables and not rows:
            wrong.append(f"{title}: empty")
    check(f"{name}: respects its variables: {variables}", wrong)

    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        text = substituted(variable["query"]["query"], everything)
        listed = re.fullmatch(r"label_values\((.+), (\w+)\)", text, re.S)
        if listed:
            found = api(f"label/{listed[2]}/values", **{"match[]": listed[1]})
        else:
            rows = query(re.fullmatch(r"query_result\((.+)\)", text, re.S)[1], at)
            # Grafana matches the variable's pattern against the text form of each row, without escaping.
            lines = ["{" + ",".join(f'{k}="{v}"' for k, v in sorted(r["metric"].items())) + "} 1 1" for r in rows]
            pattern = variable["regex"].strip("/").replace("(?<", "(?P<")
            found = {m["value"] for m in (re.search(pattern, line) for line in lines) if m}
            check(f"{name}: variable {variable['name']} lists every instance", ids ^ found)
        # This exporter has no named accounts.
        none = variable["name"] == "account"
        check(f"{name}: variable {variable['name']} has {len(found)} values", [] if bool(found) != none else [found])
    return shown


def substituted(expr, values):
    fixed = {"__range": "60s", "__rate_interval": "8s", "limit": "20", **values}
    # $1 belongs to label_replace.
    return re.sub(r"\$([A-Za-z_]\w*)", lambda m: fixed[m[1]], expr)


def evaluate(expr, target, at):
    if target.get("instant"):
        return query(expr, at)
    return api("query_range", query=expr, start=at - 60, end=at, step=2)["result"]


# The demo, which ran at the same time.


def check_demo():
    log = DIR / "demo.log"
    wait_for("the fifth step of the demo", 60, lambda: "step 5 of" in log.read_text())
    text = log.read_text()
    values = re.findall(r"step (\d) of \d: .*?before: (\S+), now: (\S+)\n", text, re.S)
    steps = {int(n): (before, now) for n, before, now in values}
    check("demo: lag grows while a group stalls", [] if float(steps[1][1]) > float(steps[1][0]) + 60 else [steps[1]])
    check("demo: a deleted group is absent", [] if steps[3] == ("1", "absent") else [steps[3]])
    check("demo: lag falls when the group resumes",
          [] if float(steps[4][1]) < float(steps[1][1]) else [steps[1], steps[4]])
    for line in re.findall(r"^    (curl .*)$", text, re.M):
        check(f"demo: its command finds existing series: {line.split('|')[1].strip()}",
              [] if any(re.match(line.split("'")[1].replace("order-billing", ""), n) for n in names()) else [line])
    bad = [line for line in text.splitlines() if "level=error" in line or "panicked" in line]
    check("demo: its log has no error", bad)


def names():
    return fetch(f"{EXPORTER}/metrics")[0].decode().splitlines()


def main():
    froze_at = time.time()
    before = watch_it_move(froze_at)
    frozen_seconds = time.time() - froze_at - MOVES_SECONDS
    frozen_ms = sim("freeze", "POST")["now_ms"]
    froze_at = time.time()
    truth = sim("truth")
    want = expected(truth)
    print(f"      the world is frozen: {len(want)} series in the truth", flush=True)
    check_movement(before, truth, froze_at)
    wait_until_read(frozen_ms, froze_at)
    assert sim("truth") == truth, "the world changed"
    # A full second, so that the last step of a range query is on it.
    at = int(time.time()) + 1
    time.sleep(at - time.time())
    check_scrapes()
    check_series(want)
    check_lag(want)
    check_ages(truth, frozen_seconds + time.time() - froze_at)
    check_offsets(want)
    check_names(truth)
    check_encodings()
    promtool("the exposition of a frozen world")
    check_self_metrics()
    check_rules(want)
    check_dashboards(want, at)
    kafka_exporter.prove(KAFKA_PROMETHEUS, KAFKA, before, truth, froze_at, at)
    promtool("the exposition with kafka_exporter's names", KAFKA, [kafka_exporter.PROMTOOL_FINDING])
    check_demo()


try:
    main()
except (RuntimeError, AssertionError, LookupError, ValueError, OSError, http.client.HTTPException) as error:
    check("the suite ran to its end", [f"{type(error).__name__}: {error}"])
print(f"\n{counts['passed']} passed, {counts['failed']} failed", flush=True)
sys.exit(1 if counts["failed"] else 0)
