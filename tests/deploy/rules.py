"""Checks the PrometheusRule: exactly the shipped rules, and working thresholds."""

import copy
import json
import re
import tempfile
from pathlib import Path

import yaml

from common import ROOT, check, must, none_of, objects, of_kind, only, run, setups

RULES = ROOT / "config/rules"
THRESHOLD = "alikafka:group_lag_threshold"
ON = {"prometheusRule": {"enabled": True}}


def groups(values):
    return only(of_kind(objects(values), "PrometheusRule"), "PrometheusRules")["spec"]["groups"]


def rules_of(found):
    return [rule for group in found for rule in group["rules"]]


def shipped():
    """Returns the rule groups in config/rules."""
    found = []
    for path in sorted(RULES.glob("*.rules.yml")):
        found += yaml.safe_load(path.read_text())["groups"]
    return found


def key(rule):
    return json.dumps({name: str(value) if name == "expr" else value for name, value in rule.items()}, sort_keys=True)


def promtool(found, *tests):
    """Writes the groups to `rules.yml`, checks it with promtool, and runs promtool tests of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": found}))
        output = run("promtool", "check", "rules", path)
        for test in tests:
            place = Path(folder) / "test.yml"
            place.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], **test}))
            run("promtool", "test", "rules", place)
    return int(re.search(r"SUCCESS: (\d+) rules", output)[1])


@check("promtool accepts the rules of every values file")
def parse():
    output = {}
    for name, values in setups().items():
        if of_kind(objects(values), "PrometheusRule"):
            output[name] = promtool(groups(values))
    must(len(output) >= 2, "too few values files have rules")
    return ", ".join(f"{name}: {count}" for name, count in output.items())


@check("by default, the rules equal those in config/rules")
def same():
    ours = sorted(key(rule) for rule in rules_of(groups(ON)))
    theirs = sorted(
        key(rule) for rule in rules_of(shipped()) if not re.fullmatch(THRESHOLD + "_(seconds|messages)", rule.get("record", ""))
    )
    none_of(
        [f"only in the chart: {rule}" for rule in ours if rule not in theirs]
        + [f"only in config/rules: {rule}" for rule in theirs if rule not in ours]
    )
    must(len(ours) == len(theirs), f"{len(ours)} rules instead of {len(theirs)}")
    for group in shipped():
        same_name = [other for other in groups(ON) if other["name"] == group["name"]]
        if same_name:
            must({**group, "rules": 0} == {**same_name[0], "rules": 0}, f"group {group['name']} has different settings")
    return f"{len(ours)} rules"


@check("values add labels, annotations and runbook URLs only to alerts, and leave out the disabled ones")
def changed():
    values = setups()["everything"]["prometheusRule"]
    before = {rule["alert"]: rule for rule in rules_of(groups(ON)) if "alert" in rule}
    found = rules_of(groups({"prometheusRule": values}))
    after = {rule["alert"]: rule for rule in found if "alert" in rule}
    must(set(before) - set(after) == set(values["disabledAlerts"]), f"left out: {set(before) - set(after)}")
    recorded = {key(rule) for rule in rules_of(groups(ON)) if "record" in rule}
    must(recorded <= {key(rule) for rule in found}, "a recording rule was changed")
    must("own:lag" in json.dumps(found), "additionalGroups are missing")
    problems = []
    for name, rule in after.items():
        want = copy.deepcopy(before[name])
        want["labels"].update(values["alertLabels"])
        if "runbook_url" in want["annotations"]:
            want["annotations"]["runbook_url"] = (
                values["runbookUrlBase"].rstrip("/") + "/" + want["annotations"]["runbook_url"]
            )
        want["annotations"].update(values["alertAnnotations"])
        if want != rule:
            problems.append(f"{name}: {rule}")
    none_of(problems)
    return f"{len(after)} alerts"


def thresholds(values):
    return [rule for rule in rules_of(groups(values)) if rule.get("record", "").startswith(THRESHOLD)]


@check("thresholds from the values are recorded as the rules need them, and the defaults are the shipped ones")
def recorded():
    y, seconds, messages = "alikafka_post-cn-y", f"{THRESHOLD}_seconds", f"{THRESHOLD}_messages"
    rows = [
        (f"{seconds}:default", {f"{seconds}:default": 900}),
        (f"{messages}:default", {f"{messages}:default": 5000000}),
        (messages, {f'{messages}{{instance_id="{y}"}}': 20}),
        (seconds, {
            f'{seconds}{{instance_id="alikafka_post-cn-x", group="orders"}}': 120, f'{seconds}{{instance_id="{y}"}}': 3600,
            f'{seconds}{{instance_id="{y}", group="retired"}}': float("inf"),
            f'{seconds}{{instance_id="i", group="batch-1", why="batch"}}': 14400,
        }),
    ]
    info = {"series": 'alikafka_group_info{instance_id="i", group="batch-1"}', "values": "1x5"}
    test = {"interval": "1m", "input_series": [info], "promql_expr_test": [
        {"expr": expr, "eval_time": "2m", "exp_samples": [{"labels": k, "value": v} for k, v in want.items()]}
        for expr, want in rows
    ]}
    promtool(groups(setups()["thresholds"]), {"evaluation_interval": "1m", "tests": [test]})
    default = [rule for rule in rules_of(shipped()) if re.fullmatch(THRESHOLD + "_[a-z]+:default", rule.get("record", ""))]
    must(sorted(map(key, thresholds(ON))) == sorted(map(key, default)), f"{thresholds(ON)}, shipped: {default}")
    return ", ".join(f"{rule['record']} {rule['expr']}" for rule in default)


def late(group, instance, age):
    """Yields series of a group whose lag in seconds has been `age` for more than ten minutes."""
    labels = f'region="r", instance_id="{instance}", group="{group}", instance="t", job="alikafka-exporter"'
    yield {"series": f"alikafka_group_lag_floor_seconds{{{labels}}}", "values": f"{age}x120"}
    yield {"series": f"alikafka_group_lag_seconds{{{labels}}}", "values": f"{age}x120"}
    yield {"series": f"alikafka_group_lag_messages{{{labels}}}", "values": "5x120"}


@check("an alert on lag in seconds uses the thresholds in the values for a group, an instance, and all others")
def fires():
    x, y, z = "alikafka_post-cn-x", "alikafka_post-cn-y", "alikafka_post-cn-z"
    lag = [
        (x, "orders", 300, True), (x, "others", 300, False), (x, "others-late", 1200, True),
        (y, "any", 1200, False), (y, "any-late", 4000, True), (y, "retired", 90000, False), (z, "any", 600, False),
    ]
    found = groups(setups()["thresholds"])
    name = "AliKafkaGroupLate"
    rule = only([rule for rule in rules_of(found) if rule.get("alert") == name], f"alerts {name}")
    up = [
        {"series": f'alikafka_instance_up{{region="r", instance_id="{i}", instance="t", job="alikafka-exporter"}}',
         "values": "1x120"} for i in (x, y, z)
    ]
    series = [*up, *(row for i, group, age, _ in lag for row in late(group, i, age))]
    # Checks the groups for which it fires; its texts are tested with the rules.
    expr = f'count by (instance_id, group) (ALERTS{{alertname="{name}", alertstate="firing"}})'
    want = [{"labels": f'{{instance_id="{i}", group="{group}"}}', "value": 1} for i, group, _, is_late in lag if is_late]
    promtool(found, {"evaluation_interval": "1m", "tests": [{
        "interval": "1m", "input_series": series,
        "promql_expr_test": [{"expr": expr, "eval_time": "100m", "exp_samples": want}],
    }]})
    return f"{name}, for {rule.get('for')}"
