# Run all checks that a change must pass
check:
    ./check

# Run unit, integration and documentation tests
test *args:
    cargo test --workspace --locked {{ args }}

# Run simulator and exporter in one process; no cloud account needed
demo:
    cargo run --release --locked --example demo

# Run the soak tests, about ten minutes: days of simulated time; checks memory, descriptors and API call timing
soak *args:
    cargo test --locked --test soak days -- --ignored --nocapture --test-threads=4 {{ args }}
    cargo test --locked --test soak times -- --ignored --nocapture --test-threads=1 {{ args }}

# Run every fuzz target for the given number of seconds; needs a nightly toolchain and cargo-fuzz
fuzz-smoke seconds="60" *targets:
    fuzz/smoke {{ seconds }} {{ targets }}

# Run the benchmarks of rendering and decoding
bench *args:
    cargo bench --locked {{ args }}

# Rewrite the golden files under tests/golden; review the diff before you commit it
golden-update:
    UPDATE_GOLDEN=1 cargo test --locked --test it

# Draw the dashboards over a simulated fleet into docs/screenshots; about 25 minutes. --minutes 3 for a quick look
screenshots *args:
    tests/dashboards/draw/run {{ args }}

# Test chart, manifests, systemd unit, RAM policies and image; with words, only the checks whose names contain one
deploy-test *words:
    tests/deploy/run {{ words }}

# Write the software bill of materials of the exporter as CycloneDX JSON
sbom file="target/sbom/alikafka-exporter.cdx.json":
    deploy/image/sbom {{ file }}

version := `sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1`
image_arguments := '--build-arg VERSION=' + version + ' --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date --utc +%Y-%m-%dT%H:%M:%SZ)"'

# Build the container image with the version of Cargo.toml and the git revision; target is exporter or simulator
image tag="alikafka-exporter:dev" target="exporter":
    docker build --tag {{ tag }} --target {{ target }} {{ image_arguments }} .

# Build the image for amd64 and arm64 with SBOM and provenance, and push it to the given repository
image-multiarch name target="exporter":
    docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max --push \
        --tag {{ name }}:{{ version }} --target {{ target }} {{ image_arguments }} .
