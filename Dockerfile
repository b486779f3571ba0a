# The exporter as a static binary in an image without a shell, and the simulator of the cloud as another (for trying
# things out: deploy/compose).
#
#   docker build -t alikafka-exporter .
#   docker run --rm -p 19308:19308 -e ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou \
#     -e ALIBABA_CLOUD_ACCESS_KEY_ID -e ALIBABA_CLOUD_ACCESS_KEY_SECRET alikafka-exporter
#   docker build -t alikafka-simulator --target simulator .
#
# For amd64 and arm64 from either, without emulation, into a registry: just image-multiarch (needs buildx).
#
# Both base images are pinned here, and only here. A release pins them by digest as well: ask
#   docker buildx imagetools inspect docker.io/library/rust:1.95-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker buildx imagetools inspect gcr.io/distroless/static-debian12:nonroot --format '{{.Manifest.Digest}}'
# and append @sha256:... to the names below, or pass them with --build-arg.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Compiles on the machine's own architecture, for the one that is asked for.
FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS source
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
# The image's own toolchain: rust-toolchain.toml asks for components that a build does not need. The linkers have these
# names in Debian on either architecture. A target that is named keeps RUSTFLAGS away from build scripts and macros, which
# cannot be static.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Writes into the binary what it is made of, so that scanners of images find the crates that are linked in.
RUN env -u RUSTFLAGS cargo install cargo-auditable --locked --version 0.7.7
ARG TARGETARCH
# The version of a compiler in a stable release of Debian is its own.
# hadolint ignore=DL3008
RUN case "${TARGETARCH}" in \
        amd64) machine=x86_64 package=gcc-x86-64-linux-gnu libc=libc6-dev-amd64-cross ;; \
        arm64) machine=aarch64 package=gcc-aarch64-linux-gnu libc=libc6-dev-arm64-cross ;; \
        *) echo "TARGETARCH is '${TARGETARCH}', not amd64 or arm64: build with BuildKit" >&2; exit 1 ;; \
    esac \
    && echo "${machine}-unknown-linux-gnu" >/target-triple \
    && if [ "${machine}" != "$(uname -m)" ]; then \
        rustup target add "${machine}-unknown-linux-gnu" \
        && apt-get update \
        && apt-get install -y --no-install-recommends "${package}" "${libc}" \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY . .

# The cache mounts hold the registry and finished crates between builds; neither is part of a layer.
FROM source AS build
ARG REVISION=unknown
ENV ALIKAFKA_EXPORTER_REVISION="${REVISION}"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(cat /target-triple)" \
    && cargo auditable build --release --locked --bin alikafka-exporter --target "${target}" \
    && cp "target/${target}/release/alikafka-exporter" /alikafka-exporter

FROM source AS build-simulator
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(cat /target-triple)" \
    && cargo auditable build --release --locked -p alikafka-simulator --target "${target}" \
    && cp "target/${target}/release/alikafka-simulator" /alikafka-simulator

# The base holds CA certificates, time zones, and the user 65532; neither shell nor package manager.
FROM ${BASE_IMAGE} AS simulator
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="alikafka-simulator" \
      org.opencontainers.image.description="A stand-in for the management API of Message Queue for Apache Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
COPY --from=build-simulator /alikafka-simulator /bin/alikafka-simulator
USER 65532:65532
ENTRYPOINT ["/bin/alikafka-simulator"]

# Last, so that it is what a build without --target makes.
FROM ${BASE_IMAGE} AS exporter
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="alikafka-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Alibaba Cloud Message Queue for Apache Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
COPY --from=build /alikafka-exporter /bin/alikafka-exporter
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 19308
ENTRYPOINT ["/bin/alikafka-exporter"]
