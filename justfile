# Everything that must hold before a change lands
check:
    ./check

# Unit, integration and documentation tests
test *args:
    cargo test --workspace --locked {{ args }}

# Simulator and exporter in one process, no cloud account needed
demo:
    cargo run --release --locked --example demo

# Days in minutes against the simulated cloud: memory, descriptors, calls in time; about ten minutes
soak *args:
    cargo test --locked --test soak days -- --ignored --nocapture --test-threads=4 {{ args }}
    cargo test --locked --test soak times -- --ignored --nocapture --test-threads=1 {{ args }}

# Every fuzz target for so many seconds; needs a nightly toolchain and cargo-fuzz
fuzz-smoke seconds="60" *targets:
    fuzz/smoke {{ seconds }} {{ targets }}

# Benchmarks of rendering and decoding
bench *args:
    cargo bench --locked {{ args }}

# Rewrite the expected pages under tests/golden; read the diff before you commit it
golden-update:
    UPDATE_GOLDEN=1 cargo test --locked --test it

# Pictures of the boards over a simulated world, into docs/screenshots; about 25 minutes. --minutes 3 for a quick look
screenshots *args:
    tests/boards/draw/run {{ args }}

# Tests of chart, manifests, systemd unit, RAM policies and image; with words, only those checks
deploy-test *words:
    tests/deploy/run {{ words }}

# Software bill of materials of the exporter: CycloneDX, as JSON
sbom file="target/sbom/alikafka-exporter.cdx.json":
    deploy/image/sbom {{ file }}

version := `sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1`
image_arguments := '--build-arg VERSION=' + version + ' --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date --utc +%Y-%m-%dT%H:%M:%SZ)"'

# Container image with the version of Cargo.toml and the revision of git; target is exporter or simulator
image tag="alikafka-exporter:dev" target="exporter":
    docker build --tag {{ tag }} --target {{ target }} {{ image_arguments }} .

# Image for amd64 and arm64, with its bill of materials and how it was built, pushed to the registry that is named
image-multiarch name target="exporter":
    docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max --push \
        --tag {{ name }}:{{ version }} --target {{ target }} {{ image_arguments }} .
