# Builds the exporter as a static binary in an image without a shell. The target `simulator` builds the cloud simulator,
# which deploy/compose uses.
#
#   docker build -t alikafka-exporter .
#   docker run --rm -p 19308:19308 -e ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou \
#     -e ALIBABA_CLOUD_ACCESS_KEY_ID -e ALIBABA_CLOUD_ACCESS_KEY_SECRET alikafka-exporter
#   docker build -t alikafka-simulator --target simulator .
#
# `just image-multiarch` cross-compiles for amd64 and arm64 without emulation and pushes to a registry (needs buildx).
#
# Both base images are pinned only here. A release also pins them by digest: look it up with
#   docker buildx imagetools inspect docker.io/library/rust:1.95-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker buildx imagetools inspect gcr.io/distroless/static-debian12:nonroot --format '{{.Manifest.Digest}}'
# and append @sha256:... to the names below, or pass the names with --build-arg.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Compiles on the build platform for the requested architecture.
FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS source
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
# Uses the image's toolchain, because rust-toolchain.toml requests components that a build does not need. Debian uses these
# linker names on both architectures. An explicit --target keeps RUSTFLAGS away from build scripts and proc macros, which
# cannot be static.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Embeds the list of linked crates in the binary for image scanners.
RUN env -u RUSTFLAGS cargo install cargo-auditable --locked --version 0.7.7
ARG TARGETARCH
# A stable Debian release has only one version of the compiler.
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

# The cache mounts keep the registry and compiled crates between builds; neither becomes part of a layer.
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

# The base image contains CA certificates, time zones and the user 65532, but no shell and no package manager.
FROM ${BASE_IMAGE} AS simulator
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="alikafka-simulator" \
      org.opencontainers.image.description="Simulator of the management API of Message Queue for Apache Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
COPY --from=build-simulator /alikafka-simulator /bin/alikafka-simulator
USER 65532:65532
ENTRYPOINT ["/bin/alikafka-simulator"]

# Last, so that it is the default target.
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
# Numeric, so that Kubernetes can verify that it is not root.
USER 65532:65532
EXPOSE 19308
ENTRYPOINT ["/bin/alikafka-exporter"]
