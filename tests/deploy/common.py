"""Shared by all checks: their declaration, paths, and the rendered chart."""

import functools
import json
import os
import subprocess
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/alikafka-exporter"
TARGET = Path(os.environ.get("TARGET", ROOT / "target")).resolve()
EXPORTER = TARGET / "debug/alikafka-exporter"
SIMULATOR = TARGET / "debug/alikafka-simulator"

CHECKS = []


class Wrong(Exception):
    """A failed check, with the reason."""


class NeedsRoot(Exception):
    """A check that this user cannot run."""


def check(sentence):
    """Declares a check. The check returns a short summary, or raises."""

    def declare(function):
        CHECKS.append((sentence, function))
        return function

    return declare


def require_root():
    if os.geteuid() != 0:
        raise NeedsRoot


def must(holds, wrong):
    if not holds:
        raise Wrong(wrong)


def none_of(problems, limit=12):
    """Fails with the first problems, if there are any."""
    problems = list(problems)
    if problems:
        more = [f"... and {len(problems) - limit} more"] if len(problems) > limit else []
        raise Wrong("\n".join([*problems[:limit], *more]))


def run(*command, timeout=300, **options):
    """Returns the output of a command, stdout and stderr; raises if the exit code is not 0."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, **options,
    )
    if done.returncode != 0:
        raise Wrong(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def setups():
    """Returns the values files in ci/ by name."""
    found = {path.name.removesuffix("-values.yaml"): path for path in sorted(CHART.glob("ci/*-values.yaml"))}
    must(len(found) >= 5, "too few values files in ci/")
    return {name: yaml.safe_load(path.read_text()) or {} for name, path in found.items()}


def rendered(values, name="alikafka-exporter", namespace="monitoring"):
    """Returns the rendered templates of a release. Validates the values first, because `render` does not."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        return chart.render(values, name=name, namespace=namespace)


def objects_of(texts):
    """Yields the objects of rendered templates, each with its template."""
    found = []
    for template, text in sorted(texts.items()):
        if not template.endswith(".txt"):
            for item in yaml.safe_load_all(text):
                if item:
                    found.append((Path(template).name, item))
    return found


@functools.cache
def _objects(values, name):
    return objects_of(rendered(json.loads(values), name))


def objects(values, name="alikafka-exporter"):
    """Returns the objects of a release with these values."""
    return json.loads(json.dumps(_objects(json.dumps(values), name)))


def of_kind(found, kind, component="exporter"):
    """Returns the objects of a kind, without test objects."""
    return [
        item for _, item in found
        if item["kind"] == kind and item["metadata"].get("labels", {}).get("app.kubernetes.io/component") == component
    ]


def only(items, what):
    must(len(items) == 1, f"expected one of {what}, found {len(items)}")
    return items[0]
