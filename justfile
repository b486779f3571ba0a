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

# Container image with the version of Cargo.toml and the revision of git
image tag="alikafka-exporter:dev":
    docker build --tag {{ tag }} \
        --build-arg VERSION="$(cargo metadata --no-deps --format-version 1 | sed 's/.*"name":"alikafka-exporter","version":"\([^"]*\)".*/\1/')" \
        --build-arg REVISION="$(git rev-parse HEAD)" \
        --build-arg CREATED="$(date --utc +%Y-%m-%dT%H:%M:%SZ)" .
