"""Checks the pods: hardening, configuration, credentials, selectors, and no secrets in rendered objects."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from common import EXPORTER, ROOT, SIMULATOR, Wrong, check, must, none_of, objects, of_kind, only, require_root, run, setups

# Patterns of secrets.
CANARY = re.compile(r"LTAI\w+|BEGIN [A-Z ]*PRIVATE KEY")
METADATA = "100.100.100.200"


def hardening(pod, where):
    """Returns the security problems of a pod, by the Pod Security Standard `restricted` and our own rules."""
    wrong = []

    def want(holds, what):
        if not holds:
            wrong.append(f"{where}: {what}")

    context = pod.get("securityContext", {})
    want(context.get("runAsNonRoot") is True, "runAsNonRoot")
    want(context.get("runAsUser") == 65532 and context.get("runAsGroup") == 65532, "does not run as user 65532")
    want(context.get("fsGroup") == 65532, "fsGroup, without which 0440 cannot be read")
    want(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "seccompProfile")
    want(pod.get("automountServiceAccountToken") is False, "an API token is mounted")
    want(pod.get("enableServiceLinks") is False, "service links add environment variables")
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        want(not pod.get(field), field)
    for container in pod["containers"]:
        if container["name"] not in ("exporter", "check-config", "wget", "test"):
            continue
        own = container.get("securityContext", {})
        want(own.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation")
        want(own.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem")
        want(own.get("runAsNonRoot") is True, "runAsNonRoot of the container")
        want(own.get("privileged", False) is False, "privileged")
        want(own.get("capabilities") == {"drop": ["ALL"]}, "capabilities")
        want("memory" in container.get("resources", {}).get("limits", {}), "no memory limit")
        want("memory" in container.get("resources", {}).get("requests", {}), "no memory request")
        want("cpu" in container.get("resources", {}).get("requests", {}), "no CPU request")
        for mount in container.get("volumeMounts", []):
            want("subPath" not in mount, f"{mount['name']} is mounted by subPath, so changes never arrive")
            want(mount.get("readOnly") is True, f"{mount['name']} is writable")
    for volume in pod.get("volumes", []):
        for kind in ("secret", "configMap", "projected"):
            if kind in volume and volume["name"] in ("config", "credentials", "token") or "secret-" in volume["name"]:
                if kind in volume:
                    want(volume[kind].get("defaultMode") == 0o440, f"mode of {volume['name']}")
        want("hostPath" not in volume, f"{volume['name']} is a host path")
    return wrong


def pods_of(found):
    for template, item in found:
        if item["kind"] == "Pod":
            yield template, item["spec"]
        elif item["kind"] == "Deployment":
            yield template, item["spec"]["template"]["spec"]


@check("every pod is hardened, including test pods")
def hardened():
    problems, seen = [], 0
    for name, values in setups().items():
        for template, pod in pods_of(objects(values)):
            seen += 1
            problems += hardening(pod, f"{name}: {template}")
    none_of(problems)
    # Proves that the check can fail.
    bare = {"containers": [{"name": "exporter"}]}
    must(len(hardening(bare, "bare")) >= 12, "a bare pod was accepted")
    return f"{seen} pods"


@check("there is one pod at a time, and its liveness is independent of the cloud")
def one_pod():
    spec = only(of_kind(objects({}), "Deployment"), "Deployments")["spec"]
    must(spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}, "two pods could make the same API calls")
    container = spec["template"]["spec"]["containers"][0]
    must(container["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "metrics"}, "livenessProbe")
    must(container["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "metrics"}, "readinessProbe")


@check("only a changed configuration restarts the pod, unless that is disabled")
def checksum():
    def template(values):
        return only(of_kind(objects(values), "Deployment"), "Deployments")["spec"]["template"]

    sums = [
        template({"config": {"regions": [region]}})["metadata"]["annotations"]["checksum/config"]
        for region in ("cn-hangzhou", "cn-shanghai", "cn-hangzhou")
    ]
    must(sums[0] != sums[1] and sums[0] == sums[2], f"checksums {sums}")
    manual = template({"restartOnConfigChange": False})["metadata"]["annotations"]
    must("checksum/config" not in manual, "a checksum although restarts are disabled")
    labels = template({})["metadata"]["labels"]
    must(not any("version" in key or "chart" in key for key in labels), f"the chart's version is in {labels}")


@check("selectors match the exporter pod and no test pod; ports and monitors match")
def wiring():
    problems = []
    for name, values in setups().items():
        found = objects(values)
        pod = only(of_kind(found, "Deployment"), "Deployments")["spec"]["template"]
        others = [item["metadata"]["labels"] for _, item in found if item["kind"] == "Pod"]

        def selects(labels, selector):
            return selector and all(labels.get(key) == value for key, value in selector.items())

        def want(holds, what):
            if not holds:
                problems.append(f"{name}: {what}")

        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        of_all = {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", [])}
        selectors = {
            "Deployment": only(of_kind(found, "Deployment"), "Deployments")["spec"]["selector"]["matchLabels"],
        }
        for kind, path in (("Service", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"),
                           ("PodMonitor", "selector")):
            for item in of_kind(found, kind):
                selector = item["spec"][path]
                selectors[kind] = selector if kind == "Service" else selector["matchLabels"]
        for kind, selector in selectors.items():
            want(selects(pod["metadata"]["labels"], selector), f"{kind} does not select the pod")
            want(not any(selects(labels, selector) for labels in others), f"{kind} selects a test pod")
        for service in of_kind(found, "Service"):
            want(service["spec"]["publishNotReadyAddresses"] is True, "a pod that is not ready is not published")
            want(all(port["targetPort"] in ports for port in service["spec"]["ports"]), "targetPort")
            for monitor in of_kind(found, "ServiceMonitor"):
                spec = monitor["spec"]
                want(selects(service["metadata"]["labels"], spec["selector"]["matchLabels"]), "ServiceMonitor")
                want(spec["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]], "namespace")
                names = [port["name"] for port in service["spec"]["ports"]]
                want(all(e["port"] in names for e in spec["endpoints"]), "port of the ServiceMonitor")
        for kind, key in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
            for monitor in of_kind(found, kind):
                end = only(monitor["spec"][key], "endpoints")
                want(end["honorLabels"] is True, f"{kind}: honorLabels")
                want(end["port"] in (ports if kind == "ServiceMonitor" else of_all), f"{kind}: port")
                requested = values["serviceMonitor" if kind == "ServiceMonitor" else "podMonitor"]
                want(end["port"] == requested.get("port", "metrics"), f"{kind}: wrong port")
                want(end["scheme"] == requested.get("scheme", "http"), f"{kind}: scheme")
                want(end.get("tlsConfig") == requested.get("tlsConfig"), f"{kind}: tlsConfig")
                first = end["relabelings"][0]
                want((first["targetLabel"], first["replacement"]) == ("job", "alikafka-exporter"), f"{kind}: job")
        # The pods of `helm test` may reach the same port while they run.
        for policy in of_kind(found, "NetworkPolicy", "test"):
            spec = policy["spec"]
            entry = only(spec["ingress"], "ingress rules of the test")
            want(selects(pod["metadata"]["labels"], spec["podSelector"]["matchLabels"]), "the test's policy")
            peer = only(entry["from"], "peers of the test")["podSelector"]["matchLabels"]
            want(all(selects(labels, peer) for labels in others), "the test's policy does not admit it")
            want([port["port"] for port in entry["ports"]] == list(ports.values()), "port of the test's policy")
        for policy in of_kind(found, "NetworkPolicy"):
            spec = policy["spec"]
            want(spec["policyTypes"] == ["Ingress", "Egress"], "policyTypes")
            entry, *more = spec["ingress"]
            want(more == values.get("networkPolicy", {}).get("extraIngress", []), "more ingress rules than in the values")
            want(entry["from"] and [p["port"] for p in entry["ports"]] == list(ports.values()), "ingress")
            allowed = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
            want({53, 443} <= allowed, "DNS and 443 are not allowed")
            metadata = METADATA in json.dumps(spec)
            config = only([i for i in of_kind(found, "ConfigMap") if "alikafka-exporter.yml" in i["data"]], "configs")
            needed = "ecs_ram_role" in config["data"]["alikafka-exporter.yml"]
            want(metadata == needed, f"metadata service allowed: {metadata}, needed: {needed}")
    none_of(problems)


def configurations():
    for name, values in setups().items():
        found = objects(values)
        maps = [i for i in of_kind(found, "ConfigMap") if "alikafka-exporter.yml" in i["data"]]
        yield name, only(maps, "configurations")["data"]["alikafka-exporter.yml"]


@check("the exporter accepts every rendered configuration")
def accepted():
    output = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in configurations():
            path = Path(folder) / f"{name}.yml"
            path.write_text(text)
            output[name] = run(EXPORTER, "check-config", f"--config.file={path}", env={}).strip()
            must(output[name].startswith("ok: "), f"{name}: {output[name]}")
        path.write_text("regions: [cn-hangzhou]\nregion: x\n")
        bad = subprocess.run([EXPORTER, "check-config", f"--config.file={path}"], capture_output=True, timeout=30)
        must(bad.returncode == 2, "an invalid configuration was accepted")
    return f"{len(output)} configurations"


@check("credentials match the values: files of the Secret, the RRSA token, or the role of the node")
def credentials():
    got = {name: yaml.safe_load(text).get("credentials") for name, text in configurations()}
    path = "/etc/alikafka-exporter/credentials"
    token = "/var/run/secrets/alikafka-exporter/token/token"
    provider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c123"
    want = {
        "default": None,
        "thresholds": None,
        "existing-secret": {"access_key_id_file": f"{path}/access_key_id", "access_key_secret_file": f"{path}/access_key_secret"},
        "rrsa": {"type": "oidc"},
        "rrsa-token": {
            "type": "oidc", "role_arn": "acs:ram::1234567890123456:role/alikafka-exporter", "oidc_token_file": token,
            "oidc_provider_arn": provider, "assume_role": {"role_arn": "acs:ram::2234567890123456:role/alikafka-exporter"},
        },
        "node-role": {"type": "ecs_ram_role", "role_name": "alikafka-exporter"},
    }
    none_of(f"{name}: {got[name]}" for name in want if got[name] != want[name])
    pod = only(of_kind(objects(setups()["rrsa-token"]), "Deployment"), "Deployments")["spec"]["template"]["spec"]
    sources = [volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume]
    issued = {"audience": "sts.aliyuncs.com", "expirationSeconds": 3600, "path": "token"}
    must(sources == [[{"serviceAccountToken": issued}]], f"the RRSA token is {sources}")
    account = only(of_kind(objects(setups()["rrsa"]), "ServiceAccount"), "ServiceAccounts")
    annotation = account["metadata"]["annotations"].get("pod-identity.alibabacloud.com/role-name")
    must(annotation == "alikafka-exporter", f"the RRSA annotation is {annotation}")


@check("every file named in a configuration is mounted as a directory from a Secret or a token")
def mounted():
    problems = []
    for (name, text), values in zip(configurations(), setups().values()):
        pod = only(of_kind(objects(values), "Deployment"), "Deployments")["spec"]["template"]["spec"]
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for path in re.findall(r"_file: (\S+)", text):
            folder, file = path.rsplit("/", 1)
            if folder not in mounts:
                problems.append(f"{name}: {path} is not mounted")
                continue
            volume = volumes[mounts[folder]]
            files = [item["path"] for item in volume.get("secret", {}).get("items", [])]
            if files and file not in files:
                problems.append(f"{name}: {path} is not among {files}")
    none_of(problems)


@check("no rendered object contains a secret or is a Secret")
def no_secret():
    problems = []
    for name, values in setups().items():
        for template, item in objects(values):
            if item["kind"] == "Secret":
                problems.append(f"{name}: {template} is a Secret")
            found = CANARY.search(json.dumps(item))
            if found:
                problems.append(f"{name}: {template}: {found[0]}")
    none_of(problems)


def rehearse(folder, pod, config, port, cloud):
    """Returns the command that runs the exporter like its container: same arguments, user 65532, no capabilities, Secret with mode 0440."""
    where = Path(folder)
    where.chmod(0o755)
    files = where / "credentials"
    files.mkdir()
    # Like the kubelet: the files are links into a folder that is replaced.
    data = files / "..2026_data"
    data.mkdir()
    for name, text in (("access_key_id", "LTAI5tSimulatorTestKey"), ("access_key_secret", "simulator-test-secret")):
        (data / name).write_text(text)
        (data / name).chmod(0o440)
        os.chown(data / name, 0, 65532)
        (files / name).symlink_to(f"..2026_data/{name}")
    path = where / "alikafka-exporter.yml"
    path.write_text(config.replace("/etc/alikafka-exporter/credentials", str(files)))
    binary = where / "alikafka-exporter"
    binary.write_bytes(EXPORTER.read_bytes())
    binary.chmod(0o555)
    arguments = [
        argument.replace("/etc/alikafka-exporter/config/alikafka-exporter.yml", str(path))
        for argument in pod["containers"][0]["args"]
    ]
    arguments = [f"--web.listen-address=127.0.0.1:{port}" if "listen-address" in a else a for a in arguments]
    context = pod["securityContext"]
    return [
        "setpriv", f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}", f"--groups={context['fsGroup']}",
        "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", str(binary), *arguments,
    ], {"ALIKAFKA_EXPORTER_ENDPOINT": cloud}


@check("the values for kafka_exporter's names relabel like its Prometheus configuration")
def kafka_exporter():
    job = only(yaml.safe_load((ROOT / "config/prometheus-kafka-exporter.yml").read_text())["scrape_configs"], "jobs")
    end = only(of_kind(objects(setups()["kafka-exporter"]), "ServiceMonitor"), "ServiceMonitors")["spec"]["endpoints"][0]

    def snake(rule):
        return {re.sub("[A-Z]", lambda upper: "_" + upper[0].lower(), key): value for key, value in rule.items()}

    must([snake(rule) for rule in end["metricRelabelings"]] == job["metric_relabel_configs"], "metricRelabelings")
    labels = {rule["targetLabel"]: rule["replacement"] for rule in end["relabelings"]}
    must(labels == {"job": job["job_name"], **job["static_configs"][0]["labels"]}, f"labels {labels}")
    must((end["interval"], end["honorLabels"]) == (job["scrape_interval"], job["honor_labels"]), "interval")


def connection_test(found, base):
    """Runs the script of the `helm test` pod with busybox against another address and returns its output."""
    pod = only([i for _, i in found if i["metadata"]["name"].endswith("-test-connection")], "test pods")
    container = pod["spec"]["containers"][0]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    must(environment["URL"] == "http://alikafka-exporter.monitoring.svc:19308", environment["URL"])
    busybox = shutil.which("busybox")
    shell = [busybox, *container["command"], *container["args"]]
    path = "/usr/bin:/bin"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("wget", "grep", "timeout"):
            (Path(folder) / name).symlink_to(busybox)
        environment.update(URL=base, PATH=f"{folder}:{path}")
        dead = subprocess.run(shell, env={**environment, "URL": "http://127.0.0.1:9"}, capture_output=True, timeout=60)
        must(dead.returncode != 0, "the test of a closed port passes")
        wrong = subprocess.run(shell, env={**environment, "METRICS": "/"}, capture_output=True, timeout=60)
        must(wrong.returncode != 0, "the test of a response without metrics passes")
        return run(*shell, env=environment)


@check("the container's command line runs under its user and reads the mounted Secret")
def runs():
    require_root()
    found = objects(setups()["existing-secret"])
    pod = only(of_kind(found, "Deployment"), "Deployments")["spec"]["template"]["spec"]
    config = dict(configurations())["existing-secret"]
    with tempfile.TemporaryDirectory() as folder, Processes() as processes:
        cloud = processes.simulator(folder)
        port = free_port()
        command, environment = rehearse(folder, pod, config, port, cloud)
        log = processes.start(command, Path(folder) / "exporter.log", environment)
        probes = pod["containers"][0]
        base = f"http://127.0.0.1:{port}"
        until(lambda: status_of(base + probes["livenessProbe"]["httpGet"]["path"]) == 200, "it is not healthy", log)
        until(lambda: status_of(base + probes["readinessProbe"]["httpGet"]["path"]) == 200, "it is not ready", log)
        metrics = body_of(base + "/metrics")
        series = re.search(r"^alikafka_exporter_series (\d+)", metrics, re.MULTILINE)
        must(series and int(series[1]) > 100, f"/metrics has no series of the cloud:\n{log.read_text()[-1500:]}")
        output = connection_test(found, base)
        must(output.count("\n") >= 1 and "exporter_build_info{" in output, f"the helm test pod prints {output}")
        must("can be read by others" not in log.read_text(), f"it warns about the mode of its files:\n{log.read_text()}")
    return f"{series[1]} series"


class Processes:
    """Processes that stop at the end of the block."""

    def __init__(self):
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, hard in reversed(self.running):
            process.kill() if hard else process.terminate()
        for process, _ in self.running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, command, log, environment=None, hard=False):
        """Starts a process and returns its log. `hard` kills a process that does not forward signals, e.g. unshare, with its child."""
        with open(log, "w") as out:
            process = subprocess.Popen(
                [str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=environment if environment is not None else dict(os.environ),
            )
        self.running.append((process, hard))
        return Path(log)

    def simulator(self, folder):
        log = self.start(
            [SIMULATOR, "--listen", "127.0.0.1:0", "--regions", "cn-hangzhou", "--latency-ms", "0", "--jitter-ms", "0"],
            Path(folder) / "simulator.log",
        )
        until(lambda: "simulator listening on " in log.read_text(), "the simulator does not start", log)
        return re.search(r"simulator listening on (\S+)", log.read_text())[1]


def until(holds, otherwise, log, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Wrong(f"{otherwise}:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def body_of(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
