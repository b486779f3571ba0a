"""Checks the Helm chart: lint, values schema, rendered objects, packaging."""

import gzip
import json
import re
import subprocess
import tempfile
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

from common import CHART, ROOT, TARGET, Wrong, check, must, none_of, objects, of_kind, only, rendered, run, setups

# Oldest version with available schemas, one in the middle, and the newest.
KUBERNETES = ["1.25", "1.31", "1.37"]
WARNING = 2

# Invalid values, each with a word that the error must contain.
REFUSED = [
    ({"replicas": 1}, "replicas"),
    ({"image": {"tagg": "1"}}, "tagg"),
    ({"image": {"digest": "sha256:1"}}, "digest"),
    ({"service": {"port": 0}}, "port"),
    ({"service": {"port": "19308"}}, "port"),
    ({"log": {"level": "warning"}}, "level"),
    ({"config": {"region": ["cn-hangzhou"]}}, "region"),
    ({"config": {"regions": "cn-hangzhou"}}, "regions"),
    ({"config": {"metrics": {"naming": "native", "labls": {}}}}, "labls"),
    ({"config": {"accounts": [{"regions": "auto"}]}}, "name"),
    ({"config": {"accounts": [{"name": "a", "poll_interval": "1m"}]}}, "poll_interval"),
    # Secrets must not end up in a ConfigMap.
    ({"config": {"credentials": {"access_key_secret": "x"}}}, "access_key_secret"),
    ({"config": {"credentials": {"access_key_id": "x"}}}, "access_key_id"),
    ({"config": {"credentials": {"security_token": "x"}}}, "security_token"),
    ({"config": {"accounts": [{"name": "a", "credentials": {"access_key_secret": "x"}}]}}, "access_key_secret"),
    ({"config": {"proxy": "http://user:password@proxy.example:3128"}}, "proxy"),
    ({"networkPolicy": {"from": []}}, "from"),
    ({"prometheusRule": {"disabledAlerts": ["GroupLagHigh"]}}, "disabledAlerts"),
    ({"prometheusRule": {"thresholds": {"overrides": [{"group": "g", "seconds": 1}]}}}, "instance_id"),
    ({"prometheusRule": {"thresholds": {"overrides": [{"instance_id": "i", "seconds": 0}]}}}, "seconds"),
    ({"prometheusRule": {"thresholds": {"overrides": [{"instance_id": "i", "group": "g"}]}}}, "overrides"),
    ({"prometheusRule": {"thresholds": {"defaultSeconds": "15m"}}}, "defaultSeconds"),
    ({"prometheusRule": {"thresholds": {"defaultMessages": -1}}}, "defaultMessages"),
    ({"rrsa": {"roleArn": "alikafka-exporter"}}, "roleArn"),
    ({"serviceMonitor": {"interval": "30"}}, "interval"),
    ({"serviceMonitor": {"scheme": "HTTPS"}}, "scheme"),
    ({"podMonitor": {"port": ""}}, "port"),
    ({"extraEnv": [{"value": "x"}]}, "name"),
    # Combinations that only the templates can reject.
    ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "mutually exclusive"),
    ({"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}, "needs service.enabled"),
    ({"rrsa": {"roleArn": "acs:ram::1:role/a"}}, "set together"),
    ({"rrsa": {"roleName": "a"}, "credentials": {"existingSecret": "b"}}, "set one of them"),
    ({"credentials": {"existingSecret": "b"}, "config": {"credentials": {"type": "oidc"}}}, "mutually exclusive"),
    ({"prometheusRule": {"enabled": True, "disabledAlerts": ["AliKafkaNoSuchThing"]}}, "there is no alert"),
    ({"prometheusRule": {"enabled": True, "thresholds": {"overrides": [
        {"instance_id": "i", "group": "g", "seconds": 1}, {"group": "g", "seconds": 2, "instance_id": "i"}]}}},
     "two for"),
]


@check("helm lint accepts the chart with each values file in ci/")
def lint():
    problems = []
    for name, values in setups().items():
        report = helm_python.lint(str(CHART), values, strict=True)
        for message in report["messages"]:
            if message["severity"] >= WARNING:
                problems.append(f"{name}: {message['path']}: {message['error']}")
        problems += [f"{name}: {error}" for error in report["errors"]]
    none_of(problems)
    return f"{len(setups())} sets"


@check("invalid values are rejected, and the error names the problem")
def refusals():
    problems = []
    for values, word in REFUSED:
        try:
            rendered(values)
        except helm_python.HelmError as refusal:
            if word not in str(refusal):
                problems.append(f"{values}: rejected without the word {word}: {refusal}")
        else:
            problems.append(f"{values}: not rejected")
    none_of(problems)
    return f"{len(REFUSED)} sets"


@check("the schema has every key of the defaults")
def schema_is_strict():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    # Kubernetes objects and maps with free keys accept any property.
    open_ones = []

    def check_known(part, known, path):
        if "$ref" in known:
            return
        if known.get("type") == "object" and known.get("additionalProperties") is not False:
            open_ones.append(path)
        for key, child in (part or {}).items() if isinstance(part, dict) else []:
            if key in known.get("properties", {}):
                check_known(child, known["properties"][key], f"{path}.{key}".lstrip("."))
            else:
                must(path in open_ones, f"{path}.{key} is not a property of the schema")

    check_known(values, schema, "")
    missing = [
        key for key in schema["properties"] if key != "global" and key not in values
    ]
    must(not missing, f"in the schema but not in values.yaml: {missing}")
    return f"free-form: {', '.join(open_ones)}"


@check("every object matches the Kubernetes schemas, without unknown fields")
def kubernetes_schemas():
    problems, seen = [], 0
    for name, values in setups().items():
        for template, item in objects(values):
            if item["apiVersion"].startswith("monitoring.coreos.com/"):
                continue
            for version in KUBERNETES:
                seen += 1
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except Exception as wrong:  # noqa: BLE001 - the library raises several kinds
                    text = getattr(wrong, "message", wrong)
                    problems.append(f"{name}: {template}: {version}: {text}")
    none_of(problems)
    # Proves that the check can fail: a misspelt field.
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": []}}
    try:
        kubernetes_validate.validate(bad, KUBERNETES[0], strict=True)
    except Exception:  # noqa: BLE001
        return f"{seen} objects and versions, {KUBERNETES[0]} to {KUBERNETES[-1]}"
    raise Wrong("a Service with an unknown field was accepted")


@check("every Prometheus operator object matches its schema, without unknown fields")
def operator_schemas():
    items = [
        {"where": f"{name}: {template}", "object": item}
        for name, values in setups().items()
        for template, item in objects(values)
        if item["apiVersion"].startswith("monitoring.coreos.com/")
    ]
    kinds = sorted({item["object"]["kind"] for item in items})
    must(kinds == ["PodMonitor", "PrometheusRule", "ServiceMonitor"], f"only {kinds} were rendered")
    # Proves that the check can fail: a misspelt field, and a value of the wrong type.
    spelt = json.loads(json.dumps(next(i for i in items if i["object"]["kind"] == "ServiceMonitor")))
    spelt["where"] = "misspelt"
    spelt["object"]["spec"]["endpoints"][0]["honourLabels"] = True
    wrong = json.loads(json.dumps(spelt))
    wrong["where"] = "wrong type"
    wrong["object"]["spec"]["endpoints"] = {}
    output = subprocess.run(
        ["node", str(TARGET / "deploy-node/crds.mjs")], input=json.dumps([*items, spelt, wrong]),
        capture_output=True, text=True, timeout=60,
    )
    must(output.returncode == 0, output.stderr)
    problems = json.loads(output.stdout)
    must(any("honourLabels" in p for p in problems), "a misspelt field was accepted")
    must(any(p.startswith("wrong type") for p in problems), "a value of the wrong type was accepted")
    none_of(p for p in problems if not p.startswith(("misspelt", "wrong type")))
    return f"{len(items)} objects"


@check("object names are valid and unique within a release")
def names():
    long = "a-release-whose-name-is-as-long-as-helm-lets-it-be-53"
    problems = []
    for name, values in setups().items():
        for release in ("alikafka-exporter", long):
            met = set()
            for template, item in objects(values, release):
                metadata = item["metadata"]
                key = (item["kind"], metadata.get("namespace"), metadata["name"])
                if key in met:
                    problems.append(f"{name}: {template}: duplicate {key}")
                met.add(key)
                if len(metadata["name"]) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", metadata["name"]):
                    problems.append(f"{name}: {template}: name {metadata['name']}")
                for label, value in metadata.get("labels", {}).items():
                    if len(str(value)) > 63:
                        problems.append(f"{name}: {template}: label {label} is too long")
    none_of(problems)


@check("two releases in one namespace share no object")
def releases():
    def ids(release):
        return {(i["kind"], i["metadata"]["name"]) for _, i in objects(setups()["thresholds"], release)}

    common = ids("one") & ids("two")
    must(not common, f"{common}")


@check("the chart contains exactly the rules and dashboards of the repository")
def copies():
    problems = []
    for kind, pattern, home in (("rules", "*.rules.yml", "config/rules"), ("dashboards", "*.json", "dashboards")):
        own = {path.name: path.read_bytes() for path in (CHART / "files" / kind).glob("*")}
        shipped = {path.name: path.read_bytes() for path in (ROOT / home).glob(pattern)}
        must(shipped, f"{home} is empty")
        for name in sorted(own.keys() | shipped.keys()):
            if own.get(name) != shipped.get(name):
                problems.append(f"files/{kind}/{name} differs from {home}/{name}: run cargo run -p xtask -- generate")
    none_of(problems)


@check("each dashboard is in a ConfigMap that Grafana's sidecar selects")
def dashboards():
    values = {"dashboards": {"enabled": True}}
    maps = [i for i in of_kind(objects(values), "ConfigMap") if "grafana_dashboard" in i["metadata"]["labels"]]
    got = {}
    for item in maps:
        must(item["metadata"]["labels"]["grafana_dashboard"] == "1", "wrong value of the label")
        must(item["metadata"]["annotations"]["grafana_folder"] == "AliKafka", "wrong folder")
        size = len(json.dumps(item))
        must(size < 1_000_000, f"{item['metadata']['name']} has {size} bytes: too large for a ConfigMap")
        got.update(item["data"])
    shipped = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    none_of(name for name in sorted(got.keys() | shipped.keys()) if got.get(name) != shipped.get(name))
    return ", ".join(sorted(got))


@check("a release with all features fits into Helm's release Secret")
def size():
    values = setups()["everything"]
    with helm_python.Chart.load(str(CHART)) as loaded:
        parts = [*loaded.files, *loaded.templates]
    release = json.dumps({"chart": parts, "values": values, "manifest": "".join(rendered(values).values())})
    # Helm compresses it and encodes it in base64, and Kubernetes encodes that in base64 again; a Secret has at most 1 MiB.
    stored = len(gzip.compress(release.encode(), 9)) * 16 // 9
    must(stored < 800_000, f"{stored} bytes of 1048576")
    return f"{stored} bytes of 1048576"


@check("the packaged chart renders the same objects and excludes ci/")
def packed():
    values = setups()["everything"]
    with tempfile.TemporaryDirectory() as folder:
        archive = helm_python.package(str(CHART), destination=folder)
        listed = run("tar", "--list", "--file", archive)
        must("/ci/" not in listed, "ci/ is part of the archive")
        for part in ("values.schema.json", "files/rules/", "README.md"):
            must(part in listed, f"{part} is not part of the archive")
        with helm_python.Chart.load(archive) as loaded:
            same = loaded.render(values, name="alikafka-exporter", namespace="monitoring") == rendered(values)
    must(same, "the archive renders different objects")


@check("the chart's versions match the exporter's")
def versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    must(chart["appVersion"] == version, f"appVersion {chart['appVersion']}, Cargo.toml says {version}")
    must(chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0", f"kubeVersion {chart['kubeVersion']}, checked from {KUBERNETES[0]}")
    must("## Upgrading" in (CHART / "README.md").read_text(), "README.md has no section on upgrades")
    deployment = only(of_kind(objects({}), "Deployment"), "Deployments")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    must(image == f"alikafka-exporter:{version}", f"the image is {image}")
    other = objects({"image": {"registry": "r.example/a", "tag": "t", "digest": "sha256:" + "0" * 64}})
    image = only(of_kind(other, "Deployment"), "Deployments")["spec"]["template"]["spec"]["containers"][0]["image"]
    must(image == "r.example/a/alikafka-exporter@sha256:" + "0" * 64, f"with a digest the image is {image}")
    return version


@check("all relative links in the deployment READMEs resolve")
def links():
    problems = []
    for document in (CHART / "README.md", *(ROOT / "deploy").glob("*/README.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            if not target.startswith("https://") and not (Path(document).parent / target).exists():
                problems.append(f"{document.relative_to(ROOT)}: {target}")
    none_of(problems)
