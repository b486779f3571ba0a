"""Checks that assets made for kafka_exporter work: a real Prometheus that scrapes an exporter with metrics.naming:
kafka_exporter evaluates each row of kafka_exporter.table, and must return the simulator's truth. Standard library only.

With a file as argument, it writes the table's alerts to it as rules.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

from common import check, differences, escaped, fetch

TABLE = Path(__file__).with_name("kafka_exporter.table")
JOB = "alikafka-exporter"
TARGET = {"namespace": "alibaba-cloud", "strimzi_io_cluster": "alikafka"}
# A change above this number of messages makes a rate positive.
LARGE_CHANGE = 200
# Metrics of kafka_exporter that the cloud has no data for, and renamed metrics.
UNAVAILABLE = re.compile(r"kafka_topic_partition_(leader|replicas|in_sync|under_rep).*|kafka_broker.*|kafka_consumergroup_members"
                    r"|kafka_consumergroup_current_offset_sum|kafka_cluster_.*|kafka_consumergroupzookeeper_.*")
RENAMED = {
    "alikafka_topic_partitions": ("kafka_topic_partitions", "partitions"),
    "alikafka_topic_partition_start_offset": ("kafka_topic_partition_oldest_offset", "start"),
    "alikafka_topic_partition_end_offset": ("kafka_topic_partition_current_offset", "end"),
    "alikafka_group_partition_offset": ("kafka_consumergroup_current_offset", "committed"),
    "alikafka_group_partition_lag_messages": ("kafka_consumergroup_lag", "lag"),
    "alikafka_group_topic_lag_messages": ("kafka_consumergroup_lag_sum", "lag_sum"),
}
PROMTOOL_FINDING = 'kafka_consumergroup_lag_sum non-histogram and non-summary metrics should not have "_sum" suffix'


def rows():
    """Yields asset, kind, expression and expectation of each row."""
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            asset, kind, expr, returns = (column.strip() for column in line.split(" | "))
            yield asset, kind, expr, returns


def write_rules(file):
    """Writes the alerts of the table as a rule file; JSON is valid YAML."""
    alerts = [(kind.split()[1:], expr) for _, kind, expr, _ in rows() if kind.startswith("alert ")]
    rules = [{"alert": name, "expr": expr, "for": wait} for (name, wait), expr in alerts]
    Path(file).write_text(json.dumps({"groups": [{"name": "public", "rules": rules}]}, indent=1))


def values_of(truth):
    """Returns {VALUES: {labels: value}} with the labels as in Prometheus."""
    out = {name: {} for _, name in RENAMED.values()}

    def put(name, labels, value):
        out[name][tuple(sorted(labels.items()))] = value

    for region, r in truth["regions"].items():
        for instance, i in r["instances"].items():
            if not i["in_service"]:
                continue
            of = {"instance": instance, "kafka_cluster": instance, "instance_id": instance, "region": region}
            for topic, t in i["topics"].items():
                put("partitions", {**of, "topic": topic}, len(t["partitions"]))
                for p in t["partitions"]:
                    labels = {**of, "topic": topic, "partition": str(p["partition"])}
                    put("start", labels, p["start"])
                    put("end", labels, p["end"])
            for group, g in i["groups"].items():
                for topic, t in g["topics"].items():
                    labels = {**of, "consumergroup": group, "topic": topic}
                    known = [p for p in t["partitions"] if p["committed"] is not None]
                    for p in known:
                        one = {**labels, "partition": str(p["partition"])}
                        put("committed", one, p["committed"])
                        put("lag", one, max(0, p["end"] - p["committed"]))
                    if known:
                        put("lag_sum", labels, sum(max(0, p["end"] - p["committed"]) for p in known))
    return out


def summed(values, labels):
    """Sums by labels; `None` keeps all labels."""
    out = Counter()
    for key, value in values.items():
        out[key if labels is None else tuple(sorted((k, v) for k, v in key if k in labels))] += value
    return dict(out)


class Moved:
    """Changes of values between two truths."""

    def __init__(self, before, after, labels):
        keys = before.keys() | after.keys()
        of = {key: key if labels is None else tuple(sorted((k, v) for k, v in key if k in labels)) for key in keys}
        self.parts = {}
        for key, group in of.items():
            self.parts.setdefault(group, []).append((before.get(key), after.get(key)))

    def moving(self):
        """Yields 1 for a rate that must be positive, 0 for one that must be 0, `None` for either."""
        for key, parts in self.parts.items():
            if any(a is None or b is None for a, b in parts):
                yield key, None
            elif all(a == b for a, b in parts):
                yield key, 0
            else:
                is_large = min(b - a for a, b in parts) >= 0 and sum(b - a for a, b in parts) > LARGE_CHANGE
                yield key, 1 if is_large else None

    def growing(self):
        """Yields whether the sum has grown; `None` if the two truths cannot decide."""
        for key, parts in self.parts.items():
            if any(a is None or b is None for a, b in parts):
                yield key, None
            else:
                by = sum(b - a for a, b in parts)
                # Changes that cancel out may not do so in floats.
                yield key, None if by == 0 and any(a != b for a, b in parts) else by > 0


class Proof:
    def __init__(self, prometheus, before, after, froze_at, at):
        self.prometheus, self.froze_at, self.at = prometheus, froze_at, at
        self.before, self.after = values_of(before), values_of(after)
        self.instances = sorted({dict(key)["instance"] for key in self.after["committed"]})

    def have(self, result):
        """Returns {labels: value} of an instant vector, without the labels that all series share."""
        out = {}
        for row in result:
            drop = ("__name__", "job", *TARGET)
            labels = {k: v for k, v in row["metric"].items() if k not in drop}
            out[tuple(sorted(labels.items()))] = float(row["value"][1])
        return out

    def only(self, values, instance):
        return {k: v for k, v in values.items() if instance is None or ("instance", instance) in k}

    def wrong(self, have, returns, instance=None):
        """Returns all differences from the expectation."""
        returns, _, least = returns.partition(" > ")
        words = returns.split(" by ")
        labels = words[1].split(",") if len(words) == 2 and words[1] else [] if " by" in returns else None
        what = words[0].removesuffix(" by").split()
        name = what[-1]
        if what == ["empty"]:
            return [f"{key} = {value}" for key, value in have.items()]
        now, then = (self.only(values[name], instance) for values in (self.after, self.before))
        if what[0] == "count":
            return list(differences(have, {(): len(now)}))
        if what[0] == "moving":
            return self.wrong_moves(have, Moved(then, now, labels))
        if what[0] == "still":
            decided = {k: (None if a is None or b is None else a == b) for k, ((a, b),) in Moved(then, now, None).parts.items()}
            return self.wrong_set(have, decided)
        if what[0] == "growing":
            return self.wrong_set(have, dict(Moved(then, now, labels).growing()))
        want = summed(now, labels)
        if least:
            want = {k: v for k, v in want.items() if v > float(least)}
        # Sums of numbers above 2^53 depend on the order.
        near = {k: have[k] for k, v in want.items() if k in have and abs(have[k] - v) <= abs(v) * 1e-12}
        return list(differences(have, {**want, **near}))

    @staticmethod
    def wrong_moves(have, moved):
        decided = {key: sign for key, sign in moved.moving() if sign is not None}
        if not any(decided.values()):
            yield "no value has a large change"
        for key, sign in decided.items():
            if key not in have:
                yield f"missing: {key}"
            elif (have[key] > 0) != (sign > 0) or (sign == 0 and have[key] != 0):
                yield f"{key}: {have[key]}, expected {'more than ' if sign else ''}0"

    @staticmethod
    def wrong_set(have, decided):
        if True not in decided.values() or False not in decided.values():
            yield "all values behave the same"
        # Objects that appeared and disappeared between the two truths are in neither, and are ignored.
        yield from (f"missing: {key}" for key, is_in in decided.items() if is_in and key not in have)
        yield from (f"unexpected: {key}" for key, is_in in decided.items() if is_in is False and key in have)

    def variable(self, expr, returns):
        """Returns the values that a Grafana variable lists, and their problems."""
        listed = re.fullmatch(r"label_values\((.+), (\w+)\)", expr, re.S)
        if not listed:
            inner, label = re.fullmatch(r"query_result\((.+)\) (\w+)", expr, re.S).groups()
            found = {row["metric"].get(label, "") for row in self.prometheus.query(inner, self.at)}
            return found, [] if found == {returns} else [found]
        match, label = listed.groups()
        # Grafana requests the time range of the dashboard; Prometheus returns the values of entire blocks.
        times = {"start": self.at - 60, "end": self.at}
        found = set(self.prometheus.api(f"label/{label}/values", **{"match[]": match}, **times))
        if " of " not in returns:
            return found, [] if found == {returns} else [found]
        label, name = returns.split(" of ")
        inside = re.search(r"instance='([^']*)'", match)
        now = self.only(self.after[name], inside and inside[1])
        names = {dict(key)[label] for key in now}
        gone = {dict(key)[label] for key in self.only(self.before[name], inside and inside[1])}
        is_stable = label in ("instance", "kafka_cluster")
        return names, [f"missing: {n}" for n in names - found] + [f"unexpected: {n}" for n in found - names - gone if is_stable]

    def check_expressions(self):
        """Checks every row of the table except alerts."""
        variables, lists = {"job": escaped(JOB), **TARGET}, defaultdict(dict)
        for asset, kind, expr, returns in rows():
            if kind.startswith("alert"):
                continue
            instances = self.instances if "$instance" in expr else [None]
            wrong, shown = [], 0
            for instance in instances:
                values = {**variables, "instance": instance, **lists[asset, instance]}
                query = re.sub(r"\$(\w+)", lambda m: values[m[1]], expr)
                if kind == "variable":
                    found, bad = self.variable(query, returns)
                    name = re.search(r"(\w+)\)?$", expr)[1]
                    # The value of "All" for a multi-value variable, as in Grafana.
                    if name in ("topic", "consumergroup"):
                        lists[asset, instance][name] = "(" + "|".join(escaped(v) for v in sorted(found)) + ")"
                    shown += len(found)
                else:
                    # Rates at the time of the freeze, everything else at the final state.
                    have = self.have(self.prometheus.query(query, self.froze_at if "moving" in returns else self.at))
                    bad = self.wrong(have, returns, instance)
                    shown += len(have)
                wrong += bad
            if shown == 0 and returns != "empty":
                wrong.append("no result")
            where = f" in each of {len(instances)} instances" if instances != [None] else ""
            check(f"{asset}, {kind}: {expr} returns {returns} ({shown}){where}", wrong)

    def alerts(self):
        loaded = {r["name"]: r for g in self.prometheus.api("rules")["groups"] for r in g["rules"]}
        for asset, kind, expr, returns in rows():
            if not kind.startswith("alert"):
                continue
            name = kind.split()[1]
            rule = loaded[name]
            wrong = [] if rule["health"] == "ok" else [rule.get("lastError", rule["health"])]
            alerts = rule["alerts"]
            have = self.have({"metric": {k: v for k, v in a["labels"].items() if k != "alertname"},
                              "value": [0, a["value"]]} for a in alerts)
            wrong += self.wrong(have, returns)
            if not have and returns != "empty":
                wrong.append("no alert is pending")
            states = dict(Counter(a["state"] for a in alerts))
            check(f"{asset}, alert {name}: {expr} is pending or firing for {returns} {states or ''}", wrong)
        quick = [a["state"] for a in loaded["TooLargeConsumerGroupLag"]["alerts"]]
        check("an alert with a short `for` fires", [] if "firing" in quick else quick)


def check_exposition(exporter):
    """Checks for duplicate names, invented metrics, and placeholder values."""
    exposition = fetch(f"{exporter}/metrics")[0].decode()
    names = {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE ")}
    check("exposition: no family has both names", names & RENAMED.keys())
    check("exposition: every renamed family exists", {theirs for theirs, _ in RENAMED.values()} - names)
    check("exposition: no metric of replicas, brokers or members", [n for n in names if UNAVAILABLE.fullmatch(n)])
    samples = [line for line in exposition.splitlines() if not line.startswith("#")]
    check(f"exposition: none of {len(samples)} values is negative, infinite or NaN",
          [line for line in samples if line.rsplit(" ", 1)[1] in ("NaN", "+Inf", "-Inf")
           or line.rsplit(" ", 1)[1].startswith("-") and not line.startswith("alikafka_exporter_clock_skew")])


def prove(prometheus, exporter, before, after, froze_at, at):
    check_exposition(exporter)
    proof = Proof(prometheus, before, after, froze_at, at)
    for theirs, name in RENAMED.values():
        result = prometheus.query(f'{theirs}{{job="{JOB}"}}', at)
        check(f"{theirs}: {len(result)} series equal the truth exactly, with instance and kafka_cluster",
              differences(proof.have(result), proof.after[name]))
        bare = [row["metric"] for row in result if any(row["metric"].get(k) != v for k, v in TARGET.items())]
        check(f"{theirs}: every series has the labels of the target", bare)
    ours = prometheus.query('count by (instance) ({__name__=~"alikafka_.+"})', at)
    check("series with native names keep the instance of the target",
          [row["metric"] for row in ours if ":" not in row["metric"]["instance"]] if ours else ["no series"])
    proof.check_expressions()
    proof.alerts()


if __name__ == "__main__":
    write_rules(sys.argv[1])
