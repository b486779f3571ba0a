"""Expressions of the dashboards as Grafana sends them, with variables replaced by every value that a user can select.

Reads dashboards/*.json, and queries Prometheus for the values of variables like Grafana."""

import itertools
import json
import re
from pathlib import Path

# Grafana's built-in variables for a range of a few minutes.
BUILT_IN = {
    "__rate_interval": "20s", "__interval": "5s", "__interval_ms": "5000", "__range": "5m", "__range_s": "300",
    "__range_ms": "300000",
}
# More than any number of rows in the failure scenarios, so that none is cut off.
LIMIT = "300"
# $1 is a group of a regular expression, not a variable.
NAME = r"([a-zA-Z_]\w*)"
SHAPES = tuple(map(re.compile, (rf"\$\{{{NAME}(?::\w+)?\}}", rf"\${NAME}", rf"\[\[{NAME}(?::\w+)?\]\]")))
# Maximum number of combinations of variable values.
MAX_CHOICES = 40


class Dashboard:
    def __init__(self, path):
        self.file = Path(path).name
        self.json = json.loads(Path(path).read_text())
        self.title = self.json["title"]
        self.variables = {v["name"]: v for v in self.json.get("templating", {}).get("list", [])}

    def targets(self):
        """(where, expression)"""
        for panel in self.panels(self.json["panels"]):
            for target in panel.get("targets", []):
                yield f"{panel['title']} {target['refId']}", target["expr"]
        for note in self.json.get("annotations", {}).get("list", []):
            expr = note.get("expr") or note.get("target", {}).get("expr")
            if expr:
                yield f"annotation {note['name']}", expr

    def panels(self, panels):
        for panel in panels:
            if panel.get("targets") and panel["type"] != "row":
                yield panel
            yield from self.panels(panel.get("panels", []))

    def queries(self):
        """Yields (variable, query) of variables whose values come from Prometheus."""
        for name, variable in self.variables.items():
            if variable["type"] == "query":
                query = variable["query"]
                yield name, query if isinstance(query, str) else query["query"]

    def unknown_variables(self):
        known = {*self.variables, *BUILT_IN}
        used = {name for _, expr in self.targets() for name in names(expr)}
        used |= {name for _, query in self.queries() for name in names(query)}
        return [f"{self.file}: ${name} is not a variable of it" for name in sorted(used - known)]

    def choices(self, prometheus):
        """Returns the selectable combinations as maps from variable to value. A multi-value variable is set to all values; any
        other variable contributes one combination per value."""
        every = [dict(BUILT_IN)]
        for name, variable in self.variables.items():
            every = [{**chosen, name: value} for chosen in every for value in self.values(variable, chosen, prometheus)]
            if len(every) > MAX_CHOICES:
                raise RuntimeError(f"{self.file}: too many choices to try, {len(every)}")
        return every

    def one_by_one(self, name, prometheus):
        """Returns the combinations with one entry for each value of the given variable."""
        query, regex = dict(self.queries())[name], self.variables[name].get("regex")
        return [
            # A regular expression inside a string literal.
            {**chosen, name: json.dumps(re.escape(value), ensure_ascii=False)[1:-1]}
            for chosen in self.choices(prometheus)
            for value in variable_values(prometheus, substituted(query, chosen), regex)
        ]

    def values(self, variable, chosen, prometheus):
        kind = variable["type"]
        if kind == "datasource":
            return ["prometheus"]
        if variable.get("multi") or variable.get("includeAll"):
            return [variable.get("allValue") or ".*"]
        if kind == "query":
            query = dict(self.queries())[variable["name"]]
            return variable_values(prometheus, substituted(query, chosen), variable.get("regex")) or [""]
        if variable["name"] == "limit":
            return [LIMIT]
        if kind in ("custom", "interval"):
            return [option.partition(" : ")[2] or option for option in
                    [o.strip() for o in variable["query"].split(",")]][:1]
        return [variable.get("query", "")]


def names(text):
    return {name for shape in SHAPES for name in shape.findall(text)}


def substituted(text, chosen):
    for shape in SHAPES:
        text = shape.sub(lambda found: chosen[found[1]], text)
    return text


def variable_values(prometheus, query, regex=""):
    """Returns the values that Grafana offers for the query of a variable."""
    label_values = re.fullmatch(r"label_values\((?:(?s:(.+)),\s*)?(\w+)\)", query.strip())
    result = re.fullmatch(r"(?s)query_result\((.+)\)", query.strip())
    if label_values:
        match = {"match[]": label_values[1]} if label_values[1] else {}
        values = prometheus.api(f"label/{label_values[2]}/values", **match)
    elif result:
        values = []
        for row in prometheus.query(result[1]):
            labels = ",".join(f'{k}="{v}"' for k, v in row["metric"].items() if k != "__name__")
            values.append(f'{row["metric"].get("__name__", "")}{{{labels}}} {row["value"][1]} {row["value"][0]}')
    else:
        raise RuntimeError(f"unsupported query of a variable: {query}")
    if regex:
        pattern = re.sub(r"\(\?<(?=\w)", "(?P<", regex.strip("/"))
        found = [re.search(pattern, value) for value in values]
        values = [m.groupdict().get("value") or (m[1] if m.groups() else m[0]) for m in found if m]
    return list(dict.fromkeys(values))


def series(prometheus, expr, now, seconds, step):
    """Returns the label sets of the series that an expression has in the last seconds."""
    rows = prometheus.api("query_range", query=expr, start=now - seconds, end=now, step=step)["result"]
    return {labels(row["metric"]) for row in rows}


def labels(metric):
    """Returns the labels of a series, independent of naming and target."""
    metric = {("group" if k == "consumergroup" else k): v for k, v in metric.items()
              if k not in ("__name__", "instance", "job", "version", "revision", "kafka_cluster")}
    return tuple(sorted(metric.items()))


def all_series(prometheus, expr, choices, now, seconds, step=5):
    """Returns the series for all combinations of the variables in the expression."""
    used, found = names(expr), set()
    for chosen in {tuple(sorted((k, v) for k, v in c.items() if k in used)) for c in choices}:
        found |= series(prometheus, substituted(expr, dict(chosen)), now, seconds, step)
    return found


def load(directory):
    return [Dashboard(path) for path in sorted(Path(directory).glob("*.json"))]
