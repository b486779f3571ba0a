"""Checks the systemd unit: valid, hardened, and sufficient for the exporter."""

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from common import EXPORTER, ROOT, Wrong, check, must, none_of, require_root, run
from pods import Processes, status_of, free_port, body_of, until

HERE = ROOT / "deploy/systemd"
UNIT = HERE / "alikafka-exporter.service"
# Exposure out of 100: systemd rates up to 20 as "OK", and the unit has 12.
THRESHOLD = 15


def settings():
    """Returns the values of each key in the section Service; an empty value resets the key."""
    found, section = {}, None
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found[key] = [*found.get(key, []), value] if value else []
    return found


def placed(folder, drop_in=None):
    """Writes the unit with the path of this build's binary, so that systemd finds it."""
    path = Path(folder) / UNIT.name
    path.write_text(UNIT.read_text().replace("/usr/local/bin/alikafka-exporter", str(EXPORTER)))
    if drop_in:
        extra = Path(folder) / f"{UNIT.name}.d"
        extra.mkdir()
        (extra / "override.conf").write_text(drop_in)
    return path


def snippet():
    return re.search(r"^```ini\n(.*?)^```", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]


@check("systemd-analyze verify reports nothing for the unit, with a key and with a role")
def verify():
    for drop_in in (None, snippet()):
        with tempfile.TemporaryDirectory() as folder:
            output = run("systemd-analyze", "verify", placed(folder, drop_in))
        must(not output.strip(), output)
    with tempfile.TemporaryDirectory() as folder:
        bad = placed(folder)
        bad.write_text(bad.read_text().replace("ProtectClock", "ProtectClocks"))
        output = subprocess.run(["systemd-analyze", "verify", bad], capture_output=True, text=True, timeout=60)
    must("ProtectClocks" in output.stderr, "a misspelt setting was accepted")


@check("systemd-analyze security rates the unit hardened")
def security():
    with tempfile.TemporaryDirectory() as folder:
        output = run("systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager", placed(folder))
        level = re.search(r"exposure level for \S+: ([\d.]+)", output)
        bare = placed(folder)
        bare.write_text("[Service]\nExecStart=/bin/true\n")
        loose = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager", bare],
            capture_output=True, timeout=60,
        )
    must(loose.returncode != 0, "a bare unit was accepted")
    shown = re.search(r"rates the exposure of the unit ([\d.]+) of 10", (HERE / "README.md").read_text())[1]
    # Versions of systemd rate differently; a better rating than documented is fine.
    must(float(level[1]) <= float(shown) + 0.2, f"README.md says {shown}, systemd {level[1]}")
    return f"{level[1]} of 10"


@check("the exporter accepts the unit's variables and flags, and an invalid file fails a reload")
def variables():
    own = settings()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("access_key_id", "access_key_secret"):
            (Path(folder) / name).write_text("x")
        config = Path(folder) / "alikafka-exporter.yml"
        config.write_text((ROOT / "config/minimal.yml").read_text())
        environment = dict(value.replace("%d", folder).split("=", 1) for value in own["Environment"])
        loaded = [value.split(":")[0] for value in own["LoadCredential"]]
        must(sorted(Path(value).name for value in environment.values()) == sorted(loaded), "credentials and variables")
        reload, hangup = own["ExecReload"]
        must(hangup == "/bin/kill -HUP $MAINPID", hangup)
        command = reload.replace("/usr/local/bin/alikafka-exporter", str(EXPORTER))
        command = command.replace("/etc/alikafka-exporter/alikafka-exporter.yml", str(config)).split()
        output = run(*command, env=environment)
        must(output.startswith("ok:"), output)
        # Proves that the exporter reads these variables: half of the key is an error.
        half = dict(list(environment.items())[:1])
        bad = subprocess.run(command, env=half, capture_output=True, text=True, timeout=30)
        must(bad.returncode == 2 and "access_key_secret_file" in bad.stderr + bad.stdout, f"half a key: {bad}")
        config.write_text("regions: []\n")
        bad = subprocess.run(command, env=environment, capture_output=True, timeout=30)
        must(bad.returncode == 2, "an invalid file did not fail")
        # A port in use has the same exit status, and may be free a moment later.
        must(own["Restart"] == ["on-failure"] and "RestartPreventExitStatus" not in own, "a refused start is not retried")
        role = dict(
            line.split("=", 1)[1].split("=", 1) for line in snippet().splitlines() if line.startswith("Environment=A")
        )
        config.write_text((ROOT / "config/minimal.yml").read_text())
        run(*command, env=role)


def filtered():
    """Returns the system calls that the unit allows."""
    sets = {}
    for block in run("systemd-analyze", "syscall-filter", "--no-pager").split("\n\n"):
        name, *rest = [line.strip() for line in block.splitlines() if line.strip() and not line.strip().startswith("#")] or [""]
        sets[name] = rest

    def calls(name):
        if not name.startswith("@"):
            return {name}
        must(name in sets, f"systemd does not know {name}")
        return set().union(*(calls(part) for part in sets[name]))

    allowed = calls("@default")
    for line in settings()["SystemCallFilter"]:
        taken = line.startswith("~")
        for name in line.lstrip("~").split():
            allowed = allowed - calls(name) if taken else allowed | calls(name)
    # systemd always allows these.
    return allowed | calls("@default")


@check("the unit allows every system call and every socket family that the exporter uses")
def system_calls():
    own, allowed = settings(), filtered()
    must("mount" not in allowed and "setrlimit" not in allowed and "read" in allowed, "the filter was not understood")
    with tempfile.TemporaryDirectory() as folder, Processes() as processes:
        cloud = processes.simulator(folder)
        port, trace = free_port(), Path(folder) / "trace"
        log = processes.start(
            ["strace", "--follow-forks", "--quiet=all", f"--output={trace}", EXPORTER, f"--web.listen-address=127.0.0.1:{port}"],
            Path(folder) / "exporter.log",
            {
                "ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou", "ALIKAFKA_EXPORTER_ENDPOINT": cloud,
                "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tSimulatorTestKey",
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "simulator-test-secret",
            },
        )
        base = f"http://127.0.0.1:{port}"
        until(lambda: status_of(base + "/-/ready") == 200, "it is not ready", log, 60)
        must(status_of(base + "/metrics") == 200, "/metrics failed")
        # A second exporter that resolves a name, and fails at that or at the key.
        other, second = free_port(), Path(folder) / "trace-names"
        log = processes.start(
            ["strace", "--follow-forks", "--quiet=all", f"--output={second}", EXPORTER, f"--web.listen-address=127.0.0.1:{other}"],
            Path(folder) / "names.log",
            {
                "ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou", "ALIBABA_CLOUD_ACCESS_KEY_ID": "x",
                "ALIKAFKA_EXPORTER_ENDPOINT": "https://alikafka.invalid", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "y",
            },
        )
        until(lambda: status_of(f"http://127.0.0.1:{other}/-/ready") == 200, "it is not ready", log, 60)
        # Signals their children, because strace itself would exit without them.
        for process, _ in processes.running[1:]:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGTERM)
            process.wait(timeout=20)
        text = trace.read_text() + second.read_text()
    made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", text, re.MULTILINE))
    must({"execve", "epoll_wait", "accept4"} <= made, f"the trace was not understood: {sorted(made)}")
    none_of(f"{name} is not in SystemCallFilter" for name in sorted(made - allowed))
    families = set(re.findall(r"socket\((AF_\w+)", text))
    extra = families - set(own["RestrictAddressFamilies"][0].split())
    # glibc queries addresses by netlink, and works without it.
    none_of(f"{family} is not in RestrictAddressFamilies" for family in extra - {"AF_NETLINK"})
    must("PROT_WRITE|PROT_EXEC" not in text, "writable and executable memory")
    return f"{len(made)} of {len(allowed)} calls, {', '.join(sorted(families))}"


@check("the exporter's process metrics are right with ProtectProc, and would be wrong with ProcSubset=pid")
def process_metrics():
    require_root()
    own = settings()
    must(own["ProtectProc"] == ["invisible"] and "ProcSubset" not in own, "the unit's view of /proc")
    seen = {}
    for option in ("hidepid=invisible", "subset=pid"):
        with tempfile.TemporaryDirectory() as folder, Processes() as processes:
            port = free_port()
            Path(folder).chmod(0o755)
            binary = Path(folder) / "alikafka-exporter"
            binary.write_bytes(EXPORTER.read_bytes())
            binary.chmod(0o555)
            # Changing the user clears the parent-death signal, so it is set again.
            user = "setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs --pdeathsig=KILL"
            log = processes.start(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec",
                 f"mount -t proc -o {option} proc /proc; exec {user} {binary} --web.listen-address=127.0.0.1:{port}"],
                Path(folder) / "exporter.log",
                {"ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou", "ALIKAFKA_EXPORTER_ENDPOINT": "http://127.0.0.1:9",
                 "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                hard=True,
            )
            until(lambda: status_of(f"http://127.0.0.1:{port}/metrics") == 200, "/metrics failed", log)
            metrics = body_of(f"http://127.0.0.1:{port}/metrics")
        seen[option] = dict(re.findall(r"^(process_\w+) (\S+)$", metrics, re.MULTILINE))
    good, bad = seen["hidepid=invisible"], seen["subset=pid"]
    wanted = ["process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes",
              "process_start_time_seconds", "process_threads", "process_virtual_memory_bytes"]
    none_of(f"{name} is {good.get(name)}" for name in wanted[1:] if float(good.get(name, 0)) <= 0)
    must(float(good["process_start_time_seconds"]) > 1.7e9, "the start time is implausible")
    if float(bad.get("process_start_time_seconds", 0)) > 1.7e9:
        raise Wrong("ProcSubset=pid is harmless: document it and set it")
    return f"start time {good['process_start_time_seconds']}, and {bad.get('process_start_time_seconds')} without /proc/stat"
