"""Checks the image: Dockerfile, build context, bill of materials, and the final stages."""

import fnmatch
import functools
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import tomllib
import zlib
from pathlib import Path

from common import EXPORTER, ROOT, SIMULATOR, TARGET, Wrong, check, must, none_of, require_root, run
from pods import Processes, status_of, free_port, body_of, until

DOCKERFILE = ROOT / "Dockerfile"
AUDITABLE = re.search(r"\[cargo-auditable\]=([0-9.]+)", (ROOT / ".ci/tools").read_text())[1]
# Compiling the tools on a new machine, while other suites compile.
INSTALL_SECONDS = 1500
STATIC = TARGET / "deploy-static"
TOOLS = {**os.environ, "PATH": f"{ROOT / 'target/tools/bin'}:{os.environ['PATH']}"}


def stages():
    """Returns the text of each stage by name, in order."""
    parts = re.split(r"^(?=FROM )", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return {re.search(r" AS (\S+)", part.splitlines()[0])[1]: part for part in parts[1:]}


@check("hadolint reports nothing for the Dockerfile")
def lint():
    hadolint = TARGET / "deploy-venv/bin/hadolint"
    output = run(hadolint, DOCKERFILE)
    must(not output.strip(), output)
    bad = subprocess.run([hadolint, "-"], input="FROM a:latest\nRUN cd x && sudo y\n", text=True, capture_output=True)
    must(bad.returncode != 0, "an invalid Dockerfile was accepted")


@check("the Dockerfile ends with the exporter, pins its inputs, and supports both architectures")
def shape():
    text, found = DOCKERFILE.read_text(), stages()
    must(list(found)[-2:] == ["simulator", "exporter"], f"stages {list(found)}")
    for name in ("simulator", "exporter"):
        must("USER 65532:65532" in found[name], f"{name}: user")
        must("RUN" not in found[name], f"{name}: RUN in a stage without a shell")
    must(f"cargo-auditable --locked --version {AUDITABLE}" in text, "a different cargo-auditable than the tested one")
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    must(f"RUSTUP_TOOLCHAIN={toolchain}" in text, f"rust-toolchain.toml says {toolchain}")
    must(re.search(rf"^ARG BUILD_IMAGE=\S+/rust:{re.escape(toolchain.rsplit('.', 1)[0])}", text, re.MULTILINE), "BUILD_IMAGE")
    # Runs the step that prepares a cross build with stubs for the programs it calls.
    step = re.search(r'^RUN (case "\$\{TARGETARCH\}".*?; \\\n    fi)$', text, re.MULTILINE | re.DOTALL)
    must(step, "the step that evaluates TARGETARCH has changed; adapt this check")
    output = {}
    for machine in ("x86_64", "aarch64"):
        for target in ("amd64", "arm64", "riscv64", ""):
            with tempfile.TemporaryDirectory() as folder:
                script = step[1].replace("\\\n", " ").replace("/target-triple", f"{folder}/triple")
                script = script.replace("rm -rf /var/lib/apt/lists/*", "true")
                stubs = f"uname() {{ echo {machine}; }}; rustup() {{ echo rustup $*; }}; apt-get() {{ echo apt-get $*; }};"
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", stubs + script], env={"TARGETARCH": target, "PATH": os.environ["PATH"]},
                    capture_output=True, text=True, timeout=30,
                )
                triple = Path(folder) / "triple"
                output[machine, target] = (
                    done.returncode, triple.read_text().strip() if triple.exists() else None, done.stdout.splitlines(),
                )
    install = "apt-get install -y --no-install-recommends"
    arm = (0, "aarch64-unknown-linux-gnu", ["rustup target add aarch64-unknown-linux-gnu", "apt-get update",
                                            f"{install} gcc-aarch64-linux-gnu libc6-dev-arm64-cross"])
    intel = (0, "x86_64-unknown-linux-gnu", ["rustup target add x86_64-unknown-linux-gnu", "apt-get update",
                                             f"{install} gcc-x86-64-linux-gnu libc6-dev-amd64-cross"])
    must(output["x86_64", "arm64"] == arm, f"{output['x86_64', 'arm64']}")
    must(output["aarch64", "amd64"] == intel, f"{output['aarch64', 'amd64']}")
    must(output["x86_64", "amd64"] == (0, "x86_64-unknown-linux-gnu", []), f"{output['x86_64', 'amd64']}")
    must(output["aarch64", "arm64"] == (0, "aarch64-unknown-linux-gnu", []), f"{output['aarch64', 'arm64']}")
    for machine in ("x86_64", "aarch64"):
        must(output[machine, "riscv64"][0] == 1 and output[machine, ""][0] == 1, "an unknown architecture was accepted")


def context():
    """Yields the files that .dockerignore leaves in the build context."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    must(lines[0] == "*" and all(line.startswith("!") for line in lines[1:]), ".dockerignore must exclude by default")
    patterns = [line[1:] for line in lines[1:]]
    for path in run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        parts = [str(part) for part in [Path(path), *Path(path).parents]]
        if any(fnmatch.fnmatchcase(part, pattern) for part in parts for pattern in patterns):
            yield path


@check("the build context contains everything that cargo needs, and no documents")
def ignored():
    files = list(context())
    must(not [path for path in files if path.startswith(("deploy/", "docs/", ".git"))], "the context contains documents")
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            if (ROOT / path).is_file():
                place = Path(folder) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, place)
        listing = json.loads(run(
            "cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1", "--quiet",
            "--manifest-path", f"{folder}/Cargo.toml",
        ))
        missing = [
            target["src_path"] for package in listing["packages"] for target in package["targets"]
            if not Path(target["src_path"]).exists()
        ]
        must(not missing, f"not in the context: {missing}")
        # cargo reads every manifest and every file that they name before it reports that the program does not exist.
        build = subprocess.run(
            ["cargo", "build", "--locked", "--offline", "--bin", "no-such-program", "--manifest-path", f"{folder}/Cargo.toml"],
            capture_output=True, text=True, timeout=60,
        )
        must("no bin target named `no-such-program`" in build.stderr, build.stderr)
        # Files that sources include, apart from tests.
        for path in files:
            if path.endswith(".rs") and "/tests" not in path and not path.startswith(("tests/", "benches/")):
                product = (ROOT / path).read_text().split("#[cfg(test)]\nmod tests")[0]
                for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', product):
                    must((Path(folder) / path).parent.joinpath(name).exists(), f"{path} includes {name}")
        must({p["name"] for p in listing["packages"]} >= {"alikafka-exporter", "alikafka-simulator"}, "packages")
    return f"{len(files)} files"


@functools.cache
def static(binary, listed):
    """Builds a binary as in the image, but without optimization: static, and with the list of its crates if requested."""
    if listed:
        run(ROOT / ".ci/tools", "cargo-auditable", timeout=INSTALL_SECONDS)
    # The flag applies only to the program, so that no dependency is compiled again. The output folder differs, because other
    # suites run the usual binary at the same time.
    run(
        "cargo", *(["auditable"] if listed else []), "rustc", "--quiet", "--locked", "-p", binary.name, "--bin", binary.name,
        "--", "-C", "target-feature=+crt-static",
        cwd=ROOT, timeout=INSTALL_SECONDS, env={**TOOLS, "CARGO_BUILD_BUILD_DIR": str(TARGET), "CARGO_TARGET_DIR": str(STATIC)},
    )
    return STATIC / "debug" / binary.name


def tree(package):
    """Returns name and version of all crates that cargo links into a package, including itself."""
    output = run("cargo", "tree", "--locked", "-p", package, "-e", "normal", "--target", "x86_64-unknown-linux-gnu",
               "--prefix", "none", "--format", "{p}", cwd=ROOT)
    return {(line.split()[0], line.split()[1].removeprefix("v")) for line in output.splitlines() if line}


def locked():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


@check("the bill of materials lists every linked crate with its licence and the checksum from Cargo.lock")
def sbom():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sbom.json"
        run(ROOT / "deploy/image/sbom", path, timeout=INSTALL_SECONDS)
        text = path.read_text()
    must(str(ROOT) not in text, "it contains the path of this checkout")
    bill = json.loads(text)
    must((bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5"), "format")
    must(bill["metadata"]["component"]["name"] == "alikafka-exporter", "wrong component")
    lock, problems, named = locked(), [], set()
    for part in bill["components"]:
        key = (part["name"], part["version"])
        named.add(key)
        if key not in lock:
            problems.append(f"{key} is not in Cargo.lock")
            continue
        if not part.get("licenses"):
            problems.append(f"{key} has no licence")
        if [entry["content"] for entry in part.get("hashes", [])] != [lock[key]]:
            problems.append(f"{key} has a different checksum")
    own = {key for key in tree("alikafka-exporter") if key[0] != "alikafka-exporter"}
    must(len(own) > 50, f"cargo tree lists {len(own)} crates")
    none_of([*problems, *(f"{key} is linked but not listed" for key in sorted(own - named))])
    none_of(path for path in run("git", "-C", ROOT, "status", "--short", "--ignored").splitlines() if ".sbom-" in path)
    return f"{len(named)} crates"


@check("a static binary of the exporter embeds the list of its crates")
def auditable():
    binary = static(EXPORTER, True)
    must("INTERP" not in run("readelf", "--program-headers", binary), "it is not static")
    with tempfile.TemporaryDirectory() as folder:
        section = Path(folder) / "list"
        run("objcopy", "--dump-section", f".dep-v0={section}", binary, Path(folder) / "copy")
        listing = json.loads(zlib.decompress(section.read_bytes()))
    named = {(p["name"], p["version"]) for p in listing["packages"]}
    linked = tree("alikafka-exporter")
    must(named >= linked, f"not listed: {sorted(linked - named)[:5]}")
    return f"{len(named)} crates"


def buildah(folder, command, *arguments):
    """Runs buildah with its own storage and policy, so that it reads no configuration of this machine."""
    storage = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
    policy = Path(folder) / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    signatures = [f"--signature-policy={policy}"] if command in ("bud", "from") else []
    environment = {**os.environ, "TMPDIR": str(folder), "BUILDAH_ISOLATION": "chroot"}
    return run("buildah", *storage, command, *signatures, *arguments, env=environment)


def variant(folder):
    """Creates a build context with the final stages unchanged, an empty base, and prebuilt binaries."""
    for binary, listed in ((EXPORTER, True), (SIMULATOR, False)):
        shutil.copy(static(binary, listed), folder)
    shutil.copy(ROOT / "LICENSE", folder)
    head = "ARG BASE_IMAGE=scratch\n"
    for stage, binary in (("build", "alikafka-exporter"), ("build-simulator", "alikafka-simulator")):
        head += f"FROM scratch AS {stage}\nCOPY {binary} /{binary}\n"
    found = stages()
    path = Path(folder) / "Dockerfile"
    path.write_text(head + found["simulator"] + found["exporter"])
    return path


@check("the final stages build images of one program and its licence that run as user 65532, with labels")
def built():
    require_root()
    with tempfile.TemporaryDirectory(dir=TARGET) as folder, Processes() as processes:
        Path(folder).chmod(0o755)
        path = variant(folder)
        wanted = {
            "alikafka-exporter": ([], {"19308/tcp": {}}), "alikafka-simulator": (["--target", "simulator"], None),
        }
        for name, (target, ports) in wanted.items():
            arguments = ["--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc", "--build-arg", "CREATED=now"]
            buildah(folder, "bud", "--quiet", "--tag", name, *target, *arguments, "--file", path, folder)
            config = json.loads(buildah(folder, "inspect", "--type", "image", name))["OCIv1"]["config"]
            must(config["User"] == "65532:65532", f"{name}: user {config['User']}")
            must(config["Entrypoint"] == [f"/bin/{name}"], f"{name}: {config['Entrypoint']}")
            must(config.get("ExposedPorts") == ports, f"{name}: ports {config.get('ExposedPorts')}")
            labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
            want = {"title": name, "licenses": "Apache-2.0", "version": "1.2.3", "revision": "abc", "created": "now"}
            must(want.items() <= labels.items() and labels["description"], f"{name}: labels {labels}")
            container = buildah(folder, "from", name).strip()
            rootfs = Path(buildah(folder, "mount", container).strip())
            files = sorted(str(p.relative_to(rootfs)) for p in rootfs.rglob("*") if p.is_file())
            must(files == ["LICENSE", f"bin/{name}"], f"{name}: {files}")
            # Every container runtime provides these devices; a static program reads random bytes from them.
            (rootfs / "dev").mkdir()
            for device, minor in (("null", 3), ("random", 8), ("urandom", 9)):
                os.mknod(rootfs / "dev" / device, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
                (rootfs / "dev" / device).chmod(0o666)
            command = [
                shutil.which("setpriv"), "--bounding-set=-all,+sys_chroot,+setuid,+setgid", "--no-new-privs",
                shutil.which("chroot"), "--userspec=65532:65532", rootfs, f"/bin/{name}",
            ]
            must("0.1.0" in run(*command, "--version", env={}) or name.endswith("simulator"), f"{name} --version")
            port = free_port()
            if name == "alikafka-exporter":
                exporter = command
            else:
                log = processes.start([*command, "--listen", f"127.0.0.1:{port}", "--regions", "cn-hangzhou"],
                                      Path(folder) / "simulator.log", {})
                until(lambda: "listening on" in log.read_text(), "the simulator does not start", log)
                cloud = f"http://127.0.0.1:{port}"
        # Runs one image against the other, each in its own root, without files of this machine.
        port = free_port()
        log = processes.start(
            [*exporter, f"--web.listen-address=127.0.0.1:{port}"], Path(folder) / "exporter.log",
            {"ALIKAFKA_EXPORTER_REGIONS": "cn-hangzhou", "ALIKAFKA_EXPORTER_ENDPOINT": cloud,
             "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tSimulatorTestKey",
             "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "simulator-test-secret"},
        )
        until(lambda: status_of(f"http://127.0.0.1:{port}/-/ready") == 200, "it is not ready", log)
        metrics = body_of(f"http://127.0.0.1:{port}/metrics")
        series = re.search(r"^alikafka_exporter_series (\d+)", metrics, re.MULTILINE)
        must(series and int(series[1]) > 100, f"/metrics has no series of the cloud:\n{log.read_text()[-1500:]}")
        if "alikafka_exporter_build_info" not in metrics:
            raise Wrong("no build info")
        output = f"{series[1]} series"
        for container in buildah(folder, "containers", "--quiet").split():
            buildah(folder, "umount", container)
    return output


@check("the image recipes pass the arguments of the Dockerfile")
def recipes():
    just = [TARGET / "deploy-venv/bin/just", "--justfile", ROOT / "justfile", "--dry-run"]
    one = run(*just, "image")
    many = run(*just, "image-multiarch", "registry.example/alikafka-exporter", "simulator")
    for output in (one, many):
        for name in re.findall(r"--build-arg (\w+)=", output):
            must(f"ARG {name}=" in DOCKERFILE.read_text(), f"the Dockerfile has no argument {name}")
        must("--build-arg VERSION=" in output and "--build-arg REVISION=" in output, output)
    must("--platform linux/amd64,linux/arm64" in many and "--sbom=true" in many and "--provenance" in many, many)
    must("--target exporter" in one and "--target simulator" in many, "targets")
    version = run(*just[:-1], "--evaluate", "version").strip()
    must(("alikafka-exporter", version) in locked(), f"the version is {version}")
    must("deploy/image/sbom target/sbom/" in run(*just, "sbom"), "sbom")
