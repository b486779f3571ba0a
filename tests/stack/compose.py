"""Reads deploy/compose, holds what it promises, and turns its services into plain processes with the same arguments.

What is a path, a port or a host name inside of a container is mapped to one of this machine by the tables below. What
they do not name fails: an argument that is new in compose.yaml cannot go by untested. Grafana cannot be had here, so
its provisioning is read instead of run.
"""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy/compose"

# The services that run here, in the order in which they start, and as what.
PROGRAMS = {
    "exporter": "{target}/alikafka-exporter",
    "simulator": "{target}/alikafka-simulator",
    "alertmanager": "prometheus-alertmanager",
    "prometheus": "prometheus",
}
NOT_RUN = {"grafana": "there is no Grafana to be had: its provisioning is read"}
# Each argument of each service, and what it is here.
ARGUMENTS = {
    "exporter": {
        "--config.file=/etc/alikafka-exporter/alikafka-exporter.yml": "--config.file={dir}/exporter.yml",
        "--web.listen-address=:19308": "--web.listen-address=127.0.0.1:{exporter}",
    },
    "simulator": {
        "--listen=0.0.0.0:19309": "--listen=127.0.0.1:{simulator}",
        "--scenarios": "--scenarios",
        "--instances=0": "--instances=0",
        "--idle-instances=0": "--idle-instances=0",
    },
    "prometheus": {
        "--config.file=/etc/prometheus/prometheus.yml": "--config.file={dir}/prometheus.yml",
        "--storage.tsdb.path=/prometheus": "--storage.tsdb.path={dir}/prometheus-data",
        "--storage.tsdb.retention.time=15d": "--storage.tsdb.retention.time=15d",
        "--web.listen-address=:9090": "--web.listen-address=127.0.0.1:{prometheus}",
    },
    "alertmanager": {
        "--config.file=/etc/alertmanager/alertmanager.yml": "--config.file={dir}/alertmanager.yml",
        "--storage.path=/alertmanager": "--storage.path={dir}/alertmanager-data",
        "--web.listen-address=:9093": "--web.listen-address=127.0.0.1:{alertmanager}",
        "--cluster.listen-address=": "--cluster.listen-address=",
    },
}
# The health checks that ask for an address, and the port that it has here.
HEALTH = {
    "prometheus": ("http://127.0.0.1:9090/-/ready", "http://127.0.0.1:{prometheus}/-/ready"),
    "alertmanager": ("http://127.0.0.1:9093/-/ready", "http://127.0.0.1:{alertmanager}/-/ready"),
}
PROBE = ["CMD", "/bin/alikafka-simulator", "--listen=127.0.0.1:19309", "--probe"]
NO_HEALTH_CHECK = {"exporter": "its image holds nothing that could ask it; it ends itself when a loop stands still"}
# What of the files is a place inside of the stack, and what it is here: every one of these must be there.
PLACES = {
    "exporter": {
        "http://127.0.0.1:19309": "http://127.0.0.1:{simulator}",
        "/run/secrets/access_key_id": "{access_key_id}",
        "/run/secrets/access_key_secret": "{access_key_secret}",
    },
    "prometheus": {
        "/etc/prometheus/rules/": "{dir}/rules/",
        "[alertmanager:9093]": '["127.0.0.1:{alertmanager}"]',
        "[exporter:19308]": '["127.0.0.1:{exporter}"]',
    },
    # A receiver that takes down what it is told.
    "alertmanager": {
        "  - name: page\n": "  - name: page\n    webhook_configs: [{{url: 'http://127.0.0.1:{webhook}/'}}]\n",
    },
}
# Where the stack may wait, the proof does not.
HASTE = {
    "exporter": {"discovery_interval: 15s": "discovery_interval: 6s", "poll_interval: 5s": "poll_interval: 3s",
                 "status_window: 1m": "status_window: 30s"},
    "prometheus": {"scrape_interval: 15s": "scrape_interval: 2s", "evaluation_interval: 15s": "evaluation_interval: 3s",
                   "scrape_interval: 5s": "scrape_interval: 2s"},
    "alertmanager": {"group_wait: 10s": "group_wait: 1s", "group_interval: 1m": "group_interval: 2s"},
}


def load(name):
    return yaml.safe_load((HERE / name).read_text())


def merged(base, over):
    """As Compose merges two files, as far as ours use it: maps by key, all else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {k: merged(base[k], over[k]) if k in base and k in over else base.get(k, over.get(k))
                for k in {**base, **over}}
    return over


def promises(stack):
    """What is wrong with the stack, in words."""
    for name, service in stack["services"].items():
        said = lambda what: f"{name}: {what}"
        if service.get("read_only") is not True:
            yield said("its root is not read-only")
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield said("it keeps capabilities")
        if service.get("security_opt") != ["no-new-privileges:true"] or service.get("privileged"):
            yield said("it may gain privileges")
        if not service.get("restart"):
            yield said("it is not started again")
        if "build" in service:
            if not (ROOT / "Dockerfile").is_file() or (HERE / service["build"]["context"]).resolve() != ROOT:
                yield said("it is built from another directory than that of the Dockerfile")
            if service["build"].get("target") != name:
                yield said("its target of the Dockerfile is not called like it")
        elif not re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+", service["image"]):
            yield said(f"its image is not pinned: {service['image']}")
        for port in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port):
                yield said(f"port {port} is not bound to loopback alone")
        if not service.get("healthcheck") and name not in NO_HEALTH_CHECK:
            yield said("it has no health check")
        for used in service.get("configs", []):
            if used["source"] not in stack["configs"]:
                yield said(f"no config {used['source']}")
        for used in service.get("secrets", []):
            if used not in stack["secrets"]:
                yield said(f"no secret {used}")
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                if not (HERE / source).is_dir():
                    yield said(f"no directory {source}")
                if not rest.endswith(":ro"):
                    yield said(f"it may write to {source}")
            elif source not in stack["volumes"]:
                yield said(f"no volume {source}")
        for key in service.get("environment", {}):
            if re.search("SECRET|PASSWORD|TOKEN|ACCESS_KEY", key):
                yield said(f"a secret in the environment: {key}")
    for kind in ("configs", "secrets"):
        for name, source in stack[kind].items():
            if set(source) != {"file"}:
                yield f"{kind} {name}: it comes from elsewhere than a file"
            elif "$" not in source["file"] and not (HERE / source["file"]).is_file():
                yield f"{kind} {name}: no file {source['file']}"
    if set(stack["services"]) != {*PROGRAMS, *NOT_RUN}:
        yield f"services that this test does not know: {sorted(stack['services'])}"
    if stack["services"]["simulator"].get("network_mode") != "service:exporter":
        yield "the simulator is not on the exporter's loopback, and plain http goes nowhere else"


def wrong_override(base, over):
    """What is wrong with compose.cloud.yaml laid over compose.yaml."""
    both = merged(base, over)
    yield from promises(both)
    if both["services"]["simulator"].get("profiles") != ["simulator"]:
        yield "the simulator is started"
    for kind in ("access_key_id", "access_key_secret"):
        if not re.fullmatch(r"\$\{[A-Z_]+:\?.+\}", both["secrets"][kind]["file"]):
            yield f"the simulator's {kind} may be left in"
    exporter = yaml.safe_load((HERE / both["configs"]["exporter"]["file"]).read_text())
    if "endpoint" in exporter:
        yield "the exporter asks elsewhere than the cloud"
    if not re.fullmatch(r"\$\{ALIKAFKA_EXPORTER_REGIONS:\?.+\}",
                        both["services"]["exporter"]["environment"]["ALIKAFKA_EXPORTER_REGIONS"]):
        yield "regions are not asked for"
    for service in set(both["services"]) - {"exporter", "simulator"}:
        if both["services"][service] != base["services"][service]:
            yield f"{service} is another one"


def without_a_cloud(both, exporter_program, directory):
    """What check-config says of the exporter's configuration for a real account, with keys of nobody."""
    text = (HERE / both["configs"]["exporter"]["file"]).read_text()
    for kind in ("access_key_id", "access_key_secret"):
        path = Path(directory) / kind
        path.write_text("LTAI5tOfNobody\n")
        path.chmod(0o600)
        text = replaced(text, {f"/run/secrets/{kind}": str(path)})
    path = Path(directory) / "exporter.cloud.yml"
    path.write_text(text)
    said = subprocess.run([exporter_program, "check-config", f"--config.file={path}"], capture_output=True, text=True,
                          env={"ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou"}, timeout=20)
    return [] if said.returncode == 0 else [said.stdout + said.stderr]


def replaced(text, table):
    for old, new in table.items():
        if old not in text:
            raise RuntimeError(f"a file of deploy/compose has changed: no {old!r}")
        text = text.replace(old, new)
    return text


def config(stack, service, places):
    """The text of a service's configuration with the places of this machine, and without its patience."""
    text = (HERE / stack["configs"][service]["file"]).read_text()
    text = replaced(text, HASTE[service])
    return replaced(text, {old: new.format(**places) for old, new in PLACES[service].items()})


def arguments(stack, service, places):
    """The command line of a service on this machine."""
    table, argv = ARGUMENTS[service], [PROGRAMS[service].format(**places)]
    for argument in stack["services"][service]["command"]:
        if argument not in table:
            raise RuntimeError(f"compose.yaml, {service}: {argument} is not mapped, so it was not tested")
        argv.append(table[argument].format(**places))
    unused = table.keys() - set(stack["services"][service]["command"])
    if unused:
        raise RuntimeError(f"compose.yaml, {service}: {sorted(unused)} are gone; mend the table")
    return argv


def unknown_flags(argv):
    """Flags that a program's own help does not know."""
    said = subprocess.run([argv[0], "--help"], capture_output=True, text=True, timeout=20)
    known = set(re.findall(r"--(?:\[no-\])?([a-z][a-z0-9.-]*)", said.stdout + said.stderr))
    flags = [a[2:].partition("=")[0] for a in argv[1:] if a.startswith("--")]
    return [f"{argv[0]} has no --{flag}" for flag in flags if flag not in known]


def health(stack, service):
    """What a service's health check asks, as (here, argv or address)."""
    test = stack["services"][service]["healthcheck"]["test"]
    if service == "simulator":
        return test == PROBE, test
    return test == ["CMD", "wget", "-q", "--spider", HEALTH[service][0]], test


def wrong_grafana(stack, dashboards):
    """What is wrong with Grafana's provisioning: nothing of it runs here, so all of it is read."""
    service = stack["services"]["grafana"]
    mounts = {v.split(":")[1]: (HERE / v.split(":")[0]).resolve() for v in service["volumes"] if v.startswith(".")}
    sources = yaml.safe_load((HERE / "grafana/datasources/prometheus.yml").read_text())
    provider = yaml.safe_load((HERE / "grafana/dashboards/alikafka.yml").read_text())
    if (sources["apiVersion"], provider["apiVersion"]) != (1, 1):
        yield "apiVersion is not 1"
    if len(sources["datasources"]) != 1:
        yield "there is not one data source"
    source, port = sources["datasources"][0], None
    for argument in stack["services"]["prometheus"]["command"]:
        port = argument.partition("--web.listen-address=:")[2] or port
    if (source["type"], source["access"], source["url"]) != ("prometheus", "proxy", f"http://prometheus:{port}"):
        yield f"the data source does not ask the Prometheus of the stack: {source}"
    if source["isDefault"] is not True or source["editable"] is not False or "secureJsonData" in source:
        yield "the data source is not the default, may be edited, or has a secret"
    scrape = load("prometheus.yml")["scrape_configs"][0]["scrape_interval"]
    if source["jsonData"]["timeInterval"] != scrape:
        yield f"timeInterval is not the scrape interval {scrape}: rates would be wrong"
    of_datasources, of_dashboards = (f"/etc/grafana/provisioning/{kind}" for kind in ("datasources", "dashboards"))
    for place, want in ((of_datasources, HERE / "grafana/datasources"), (of_dashboards, HERE / "grafana/dashboards")):
        if mounts.get(place) != want:
            yield f"{place} is not {want.relative_to(ROOT)}"
    if len(provider["providers"]) != 1:
        yield "there is not one provider of dashboards"
    one = provider["providers"][0]
    if one["type"] != "file" or one["allowUiUpdates"] is not False:
        yield "dashboards come from elsewhere than files, or may be changed"
    if mounts.get(one["options"]["path"]) != ROOT / "dashboards":
        yield f"the provider's path {one['options']['path']} is not the mount of dashboards/"
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    if mounts.get(str(home.parent)) != ROOT / "dashboards" or home.name not in dashboards:
        yield f"there is no home dashboard {home}"
    want = {"GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true", "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true"}
    for key, value in want.items():
        if service["environment"].get(key) != value:
            yield f"{key} is not {value}"
