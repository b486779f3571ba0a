"""Checks the plain manifests: rendered from the chart, hardened, and complete for kustomize."""

import json

import helm_python
import kubernetes_validate
import yaml

from common import CHART, ROOT, Wrong, check, must, none_of
from pods import hardening, pods_of

HERE = ROOT / "deploy/kubernetes"
NAMESPACE = "alikafka-exporter"
VALUES = ROOT / "tests/deploy/kubernetes-values.yaml"
# Labels of Helm, which do not apply to plain manifests.
HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
HEADER = "# Rendered from the chart by tests/deploy/run --write: change deploy/helm/alikafka-exporter, not this file.\n"
# In the order of creation.
FILES = ("serviceaccount", "configmap", "service", "deployment", "networkpolicy", "poddisruptionbudget")


class Text(yaml.SafeDumper):
    """Dumps multi-line strings as blocks."""


Text.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def plain(value):
    """Returns the value without the labels of Helm."""
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items() if key not in HELM}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def expected():
    """Returns the rendered manifests by file name."""
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render(yaml.safe_load(VALUES.read_text()), name="alikafka-exporter", namespace=NAMESPACE)
    found = {}
    for template, text in texts.items():
        name = template.rsplit("/", 1)[1].removesuffix(".yaml")
        items = [item for item in yaml.safe_load_all(text) if item] if not template.endswith(".txt") else []
        if items:
            must(name in FILES and len(items) == 1, f"{name} is unexpectedly rendered")
            body = yaml.dump(plain(items[0]), Dumper=Text, sort_keys=False, width=200)
            found[f"{name}.yaml"] = HEADER + body
    must(set(found) == {f"{name}.yaml" for name in FILES}, f"rendered: {sorted(found)}")
    return found


def write():
    HERE.mkdir(exist_ok=True)
    for name, text in expected().items():
        (HERE / name).write_text(text)
        print(f"wrote deploy/kubernetes/{name}")


@check("the plain manifests match the chart")
def drift():
    none_of(
        f"deploy/kubernetes/{name} is outdated: run tests/deploy/run --write and review the diff"
        for name, text in expected().items()
        if not (HERE / name).exists() or (HERE / name).read_text() != text
    )


@check("kustomization.yaml lists every manifest, and all are valid and in one namespace")
def kustomization():
    listed = yaml.safe_load((HERE / "kustomization.yaml").read_text())
    must(listed["kind"] == "Kustomization" and listed["apiVersion"] == "kustomize.config.k8s.io/v1beta1", "kind")
    there = {path.name for path in HERE.glob("*.yaml")} - {"kustomization.yaml"}
    must(set(listed["resources"]) == there, f"listed {sorted(listed['resources'])}, present {sorted(there)}")
    must(listed["resources"][0] == "namespace.yaml", "the namespace must be first")
    problems = []
    for name in listed["resources"]:
        for item in yaml.safe_load_all((HERE / name).read_text()):
            for version in ("1.25", "1.37"):
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except Exception as wrong:  # noqa: BLE001 - the library raises several kinds
                    problems.append(f"{name}: {version}: {getattr(wrong, 'message', wrong)}")
            where = item["metadata"]["name"] if item["kind"] == "Namespace" else item["metadata"]["namespace"]
            if where != NAMESPACE:
                problems.append(f"{name}: namespace {where}")
            if item["kind"] == "Secret" or "helm" in json.dumps(item).lower():
                problems.append(f"{name}: a Secret, or a reference to Helm")
    none_of(problems)
    images = {image["name"] for image in listed["images"]}
    deployment = yaml.safe_load((HERE / "deployment.yaml").read_text())
    used = {c["image"].rsplit(":", 1)[0] for c in deployment["spec"]["template"]["spec"]["containers"]}
    must(images == used, f"kustomization.yaml replaces {images}, but the manifests use {used}")


@check("the plain manifests are hardened, and their namespace enforces it")
def hardened():
    namespace = yaml.safe_load((HERE / "namespace.yaml").read_text())
    levels = {key: value for key, value in namespace["metadata"]["labels"].items() if "pod-security" in key}
    must(levels.get("pod-security.kubernetes.io/enforce") == "restricted", f"{levels}")
    found = [("deployment.yaml", yaml.safe_load((HERE / "deployment.yaml").read_text()))]
    pods = list(pods_of(found))
    if not pods:
        raise Wrong("no pod")
    none_of(problem for where, pod in pods for problem in hardening(pod, where))
