"""Reads deploy/compose, checks its guarantees, and runs its services as plain processes with the same arguments.

The tables below map paths, ports and host names inside a container to those of this machine. Anything that they do not
list fails, so no new argument in compose.yaml remains untested. Grafana is not available here, so its provisioning is
only checked.
"""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy/compose"

# Services that run here, in start order, with their programs.
PROGRAMS = {
    "exporter": "{target}/alikafka-exporter",
    "simulator": "{target}/alikafka-simulator",
    "alertmanager": "prometheus-alertmanager",
    "prometheus": "prometheus",
}
NOT_RUN = {"grafana": "not available; its provisioning is checked"}
# Arguments of each service, with their replacements here.
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
# Health checks by URL, with the URL here.
HEALTH = {
    "prometheus": ("http://127.0.0.1:9090/-/ready", "http://127.0.0.1:{prometheus}/-/ready"),
    "alertmanager": ("http://127.0.0.1:9093/-/ready", "http://127.0.0.1:{alertmanager}/-/ready"),
}
PROBE = ["CMD", "/bin/alikafka-simulator", "--listen=127.0.0.1:19309", "--probe"]
NO_HEALTH_CHECK = {"exporter": "its image contains no client; the exporter exits if a loop is stuck"}
# Addresses and paths inside the stack, with their replacements here. Every one must occur in the files.
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
    # A receiver that records notifications.
    "alertmanager": {
        "  - name: none\n": "  - name: none\n    webhook_configs: [{{url: 'http://127.0.0.1:{webhook}/'}}]\n",
    },
}
# Shorter intervals for this test.
SHORT_INTERVALS = {
    "exporter": {"discovery_interval: 15s": "discovery_interval: 6s", "poll_interval: 5s": "poll_interval: 3s",
                 "status_window: 1m": "status_window: 30s"},
    "prometheus": {"scrape_interval: 15s": "scrape_interval: 2s", "evaluation_interval: 15s": "evaluation_interval: 3s",
                   "scrape_interval: 5s": "scrape_interval: 2s"},
    "alertmanager": {"group_wait: 10s": "group_wait: 1s", "group_interval: 1m": "group_interval: 2s"},
}


def load(name):
    return yaml.safe_load((HERE / name).read_text())


def merged(base, over):
    """Merges two Compose files like Compose, as far as ours need it: maps by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {k: merged(base[k], over[k]) if k in base and k in over else base.get(k, over.get(k))
                for k in {**base, **over}}
    return over


def violations(stack):
    """Yields the violated guarantees of the stack."""
    for name, service in stack["services"].items():
        problem = lambda what: f"{name}: {what}"
        if service.get("read_only") is not True:
            yield problem("root is not read-only")
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield problem("has capabilities")
        if service.get("security_opt") != ["no-new-privileges:true"] or service.get("privileged"):
            yield problem("can gain privileges")
        if not service.get("restart"):
            yield problem("is not restarted")
        if "build" in service:
            if not (ROOT / "Dockerfile").is_file() or (HERE / service["build"]["context"]).resolve() != ROOT:
                yield problem("its build context is not the root of the repository")
            if service["build"].get("target") != name:
                yield problem("its Dockerfile target has a different name")
        elif not re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+", service["image"]):
            yield problem(f"image is not pinned: {service['image']}")
        for port in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port):
                yield problem(f"port {port} is not bound to loopback")
        if not service.get("healthcheck") and name not in NO_HEALTH_CHECK:
            yield problem("has no health check")
        for used in service.get("configs", []):
            if used["source"] not in stack["configs"]:
                yield problem(f"no config {used['source']}")
        for used in service.get("secrets", []):
            if used not in stack["secrets"]:
                yield problem(f"no secret {used}")
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                if not (HERE / source).is_dir():
                    yield problem(f"no directory {source}")
                if not rest.endswith(":ro"):
                    yield problem(f"can write to {source}")
            elif source not in stack["volumes"]:
                yield problem(f"no volume {source}")
        for key in service.get("environment", {}):
            if re.search("SECRET|PASSWORD|TOKEN|ACCESS_KEY", key):
                yield problem(f"a secret in the environment: {key}")
    for kind in ("configs", "secrets"):
        for name, source in stack[kind].items():
            if set(source) != {"file"}:
                yield f"{kind} {name}: not from a file"
            elif "$" not in source["file"] and not (HERE / source["file"]).is_file():
                yield f"{kind} {name}: no file {source['file']}"
    if set(stack["services"]) != {*PROGRAMS, *NOT_RUN}:
        yield f"services unknown to this test: {sorted(stack['services'])}"
    if stack["services"]["simulator"].get("network_mode") != "service:exporter":
        yield "the simulator does not share the exporter's loopback, and plain HTTP is allowed only there"


def wrong_override(base, over):
    """Yields the problems of compose.cloud.yaml merged over compose.yaml."""
    both = merged(base, over)
    yield from violations(both)
    if both["services"]["simulator"].get("profiles") != ["simulator"]:
        yield "the simulator is started"
    for kind in ("access_key_id", "access_key_secret"):
        if not re.fullmatch(r"\$\{[A-Z_]+:\?.+\}", both["secrets"][kind]["file"]):
            yield f"the simulator's {kind} may remain in use"
    exporter = yaml.safe_load((HERE / both["configs"]["exporter"]["file"]).read_text())
    if "endpoint" in exporter:
        yield "the exporter does not call the cloud"
    if not re.fullmatch(r"\$\{ALIKAFKA_EXPORTER_REGIONS:\?.+\}",
                        both["services"]["exporter"]["environment"]["ALIKAFKA_EXPORTER_REGIONS"]):
        yield "regions are not required"
    for service in set(both["services"]) - {"exporter", "simulator"}:
        if both["services"][service] != base["services"][service]:
            yield f"{service} differs"


def without_a_cloud(both, exporter_program, directory):
    """Returns the problems that check-config finds in the configuration for a real account, with a made-up key."""
    text = (HERE / both["configs"]["exporter"]["file"]).read_text()
    for kind in ("access_key_id", "access_key_secret"):
        path = Path(directory) / kind
        path.write_text("LTAI5tMadeUpKey\n")
        path.chmod(0o600)
        text = replaced(text, {f"/run/secrets/{kind}": str(path)})
    path = Path(directory) / "exporter.cloud.yml"
    path.write_text(text)
    result = subprocess.run([exporter_program, "check-config", f"--config.file={path}"], capture_output=True, text=True,
                          env={"ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou"}, timeout=20)
    return [] if result.returncode == 0 else [result.stdout + result.stderr]


def replaced(text, table):
    for old, new in table.items():
        if old not in text:
            raise RuntimeError(f"a file of deploy/compose has changed: no {old!r}")
        text = text.replace(old, new)
    return text


def config(stack, service, places):
    """Returns the configuration of a service with the addresses of this machine and short intervals."""
    text = (HERE / stack["configs"][service]["file"]).read_text()
    text = replaced(text, SHORT_INTERVALS[service])
    return replaced(text, {old: new.format(**places) for old, new in PLACES[service].items()})


def arguments(stack, service, places):
    """Returns the command line of a service on this machine."""
    table, argv = ARGUMENTS[service], [PROGRAMS[service].format(**places)]
    for argument in stack["services"][service]["command"]:
        if argument not in table:
            raise RuntimeError(f"compose.yaml, {service}: {argument} is not mapped, so it was not tested")
        argv.append(table[argument].format(**places))
    unused = table.keys() - set(stack["services"][service]["command"])
    if unused:
        raise RuntimeError(f"compose.yaml, {service}: {sorted(unused)} no longer exist; update the table")
    return argv


def unknown_flags(argv):
    """Returns flags that the help of the program does not list."""
    result = subprocess.run([argv[0], "--help"], capture_output=True, text=True, timeout=20)
    known = set(re.findall(r"--(?:\[no-\])?([a-z][a-z0-9.-]*)", result.stdout + result.stderr))
    flags = [a[2:].partition("=")[0] for a in argv[1:] if a.startswith("--")]
    return [f"{argv[0]} has no --{flag}" for flag in flags if flag not in known]


def health(stack, service):
    """Returns whether the health check of a service is as expected, and the check."""
    test = stack["services"][service]["healthcheck"]["test"]
    if service == "simulator":
        return test == PROBE, test
    return test == ["CMD", "wget", "-q", "--spider", HEALTH[service][0]], test


def wrong_grafana(stack, dashboards):
    """Yields the problems of Grafana's provisioning, which does not run here."""
    service = stack["services"]["grafana"]
    mounts = {v.split(":")[1]: (HERE / v.split(":")[0]).resolve() for v in service["volumes"] if v.startswith(".")}
    sources = yaml.safe_load((HERE / "grafana/datasources/prometheus.yml").read_text())
    provider = yaml.safe_load((HERE / "grafana/dashboards/alikafka.yml").read_text())
    if (sources["apiVersion"], provider["apiVersion"]) != (1, 1):
        yield "apiVersion is not 1"
    if len(sources["datasources"]) != 1:
        yield "expected one data source"
    source, port = sources["datasources"][0], None
    for argument in stack["services"]["prometheus"]["command"]:
        port = argument.partition("--web.listen-address=:")[2] or port
    if (source["type"], source["access"], source["url"]) != ("prometheus", "proxy", f"http://prometheus:{port}"):
        yield f"the data source is not the Prometheus of the stack: {source}"
    if source["isDefault"] is not True or source["editable"] is not False or "secureJsonData" in source:
        yield "the data source is not the default, is editable, or has a secret"
    scrape = load("prometheus.yml")["scrape_configs"][0]["scrape_interval"]
    if source["jsonData"]["timeInterval"] != scrape:
        yield f"timeInterval is not the scrape interval {scrape}: rates would be wrong"
    of_datasources, of_dashboards = (f"/etc/grafana/provisioning/{kind}" for kind in ("datasources", "dashboards"))
    for place, want in ((of_datasources, HERE / "grafana/datasources"), (of_dashboards, HERE / "grafana/dashboards")):
        if mounts.get(place) != want:
            yield f"{place} is not {want.relative_to(ROOT)}"
    if len(provider["providers"]) != 1:
        yield "expected one dashboard provider"
    one = provider["providers"][0]
    if one["type"] != "file" or one["allowUiUpdates"] is not False:
        yield "dashboards do not come from files, or are editable"
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
