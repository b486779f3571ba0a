"""The chart: it is in order, takes good values and refuses bad ones, and what it renders is what Kubernetes knows."""

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

# The oldest whose schemas are to be had, one between, and the newest.
KUBERNETES = ["1.25", "1.31", "1.37"]
WARNING = 2

# Values that must be refused, each with a word that the refusal must have in it.
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
    # Secrets do not belong into a ConfigMap.
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
    # What only the templates can see.
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


@check("helm lints the chart, with each set of values of ci/")
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


@check("bad values are refused, and the refusal names what is wrong")
def refusals():
    problems = []
    for values, word in REFUSED:
        try:
            rendered(values)
        except helm_python.HelmError as refusal:
            if word not in str(refusal):
                problems.append(f"{values}: refused without the word {word}: {refusal}")
        else:
            problems.append(f"{values}: not refused")
    none_of(problems)
    return f"{len(REFUSED)} sets"


@check("the defaults and every set of values say nothing that the schema does not know")
def schema_is_strict():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    # Objects of Kubernetes, and maps of free keys, are as open as what they hold.
    open_ones = []

    def walk(part, known, path):
        if "$ref" in known:
            return
        if known.get("type") == "object" and known.get("additionalProperties") is not False:
            open_ones.append(path)
        for key, child in (part or {}).items() if isinstance(part, dict) else []:
            if key in known.get("properties", {}):
                walk(child, known["properties"][key], f"{path}.{key}".lstrip("."))
            else:
                must(path in open_ones, f"{path}.{key} is no property of the schema")

    walk(values, schema, "")
    missing = [
        key for key in schema["properties"] if key != "global" and key not in values
    ]
    must(not missing, f"in the schema but not in values.yaml: {missing}")
    return f"open as Kubernetes' own: {', '.join(open_ones)}"


@check("every object is one that Kubernetes knows, with no field that it does not")
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
    # The check itself: a misspelt field must not pass.
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": []}}
    try:
        kubernetes_validate.validate(bad, KUBERNETES[0], strict=True)
    except Exception:  # noqa: BLE001
        return f"{seen} objects and versions, {KUBERNETES[0]} to {KUBERNETES[-1]}"
    raise Wrong("a Service with a field that does not exist was let through")


@check("every object of the Prometheus operator has the fields of its types and no others")
def operator_schemas():
    items = [
        {"where": f"{name}: {template}", "object": item}
        for name, values in setups().items()
        for template, item in objects(values)
        if item["apiVersion"].startswith("monitoring.coreos.com/")
    ]
    kinds = sorted({item["object"]["kind"] for item in items})
    must(kinds == ["PodMonitor", "PrometheusRule", "ServiceMonitor"], f"only {kinds} were rendered")
    # The check itself: a misspelt field, and a value of the wrong kind.
    spelt = json.loads(json.dumps(next(i for i in items if i["object"]["kind"] == "ServiceMonitor")))
    spelt["where"] = "misspelt"
    spelt["object"]["spec"]["endpoints"][0]["honourLabels"] = True
    wrong = json.loads(json.dumps(spelt))
    wrong["where"] = "of a wrong kind"
    wrong["object"]["spec"]["endpoints"] = {}
    said = subprocess.run(
        ["node", str(TARGET / "deploy-node/crds.mjs")], input=json.dumps([*items, spelt, wrong]),
        capture_output=True, text=True, timeout=60,
    )
    must(said.returncode == 0, said.stderr)
    problems = json.loads(said.stdout)
    must(any("honourLabels" in p for p in problems), "a misspelt field was let through")
    must(any(p.startswith("of a wrong kind") for p in problems), "a value of the wrong kind was let through")
    none_of(p for p in problems if not p.startswith(("misspelt", "of a wrong kind")))
    return f"{len(items)} objects"


@check("names are legal and no two objects of a release have the same")
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
                    problems.append(f"{name}: {template}: a second {key}")
                met.add(key)
                if len(metadata["name"]) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", metadata["name"]):
                    problems.append(f"{name}: {template}: name {metadata['name']}")
                for label, value in metadata.get("labels", {}).items():
                    if len(str(value)) > 63:
                        problems.append(f"{name}: {template}: label {label} is too long")
    none_of(problems)


@check("two releases in one namespace have no object in common")
def releases():
    def ids(release):
        return {(i["kind"], i["metadata"]["name"]) for _, i in objects(setups()["thresholds"], release)}

    common = ids("one") & ids("two")
    must(not common, f"{common}")


@check("the chart carries the rules and dashboards of the repository, byte for byte, and no others")
def copies():
    problems = []
    for kind, pattern, home in (("rules", "*.rules.yml", "config/rules"), ("dashboards", "*.json", "dashboards")):
        own = {path.name: path.read_bytes() for path in (CHART / "files" / kind).glob("*")}
        shipped = {path.name: path.read_bytes() for path in (ROOT / home).glob(pattern)}
        must(shipped, f"{home} is empty")
        for name in sorted(own.keys() | shipped.keys()):
            if own.get(name) != shipped.get(name):
                problems.append(f"files/{kind}/{name} is not {home}/{name}: run cargo run -p xtask -- generate")
    none_of(problems)


@check("each dashboard is in a ConfigMap, byte for byte, where Grafana's sidecar finds it")
def dashboards():
    values = {"dashboards": {"enabled": True}}
    maps = [i for i in of_kind(objects(values), "ConfigMap") if "grafana_dashboard" in i["metadata"]["labels"]]
    got = {}
    for item in maps:
        must(item["metadata"]["labels"]["grafana_dashboard"] == "1", "the label has another value")
        must(item["metadata"]["annotations"]["grafana_folder"] == "AliKafka", "the folder is another")
        size = len(json.dumps(item))
        must(size < 1_000_000, f"{item['metadata']['name']} has {size} bytes: too large for a ConfigMap")
        got.update(item["data"])
    shipped = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    none_of(name for name in sorted(got.keys() | shipped.keys()) if got.get(name) != shipped.get(name))
    return ", ".join(sorted(got))


@check("a release with everything fits into the Secret that Helm keeps it in")
def size():
    values = setups()["everything"]
    with helm_python.Chart.load(str(CHART)) as loaded:
        parts = [*loaded.files, *loaded.templates]
    release = json.dumps({"chart": parts, "values": values, "manifest": "".join(rendered(values).values())})
    # Helm packs it, writes it as text, and Kubernetes writes that as text once more; a Secret holds 1 MiB.
    stored = len(gzip.compress(release.encode(), 9)) * 16 // 9
    must(stored < 800_000, f"{stored} bytes of 1048576")
    return f"{stored} bytes of 1048576"


@check("the chart packs into an archive that renders the same, without ci/")
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
    must(same, "the archive renders something else")


@check("the chart's versions are those of the product")
def versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    must(chart["appVersion"] == version, f"appVersion {chart['appVersion']}, Cargo.toml says {version}")
    must(chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0", f"kubeVersion {chart['kubeVersion']}, checked from {KUBERNETES[0]}")
    must("## Upgrading" in (CHART / "README.md").read_text(), "README.md has no section about upgrades")
    deployment = only(of_kind(objects({}), "Deployment"), "Deployments")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    must(image == f"alikafka-exporter:{version}", f"the image is {image}")
    other = objects({"image": {"registry": "r.example/a", "tag": "t", "digest": "sha256:" + "0" * 64}})
    image = only(of_kind(other, "Deployment"), "Deployments")["spec"]["template"]["spec"]["containers"][0]["image"]
    must(image == "r.example/a/alikafka-exporter@sha256:" + "0" * 64, f"with a digest the image is {image}")
    return version


@check("files that the chart's pages point to are there")
def links():
    problems = []
    for page in (CHART / "README.md", *(ROOT / "deploy").glob("*/README.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("https://") and not (Path(page).parent / target).exists():
                problems.append(f"{page.relative_to(ROOT)}: {target}")
    none_of(problems)
