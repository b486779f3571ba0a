# The exporter as a static binary in an image without a shell.
#
#   docker build -t alikafka-exporter .
#   docker run --rm -p 19308:19308 -e ALIKAFKA_EXPORTER_REGIONS=cn-hangzhou \
#     -e ALIBABA_CLOUD_ACCESS_KEY_ID -e ALIBABA_CLOUD_ACCESS_KEY_SECRET alikafka-exporter
#
# Both base images are pinned here, and only here. A release pins them by digest as well: ask
#   docker buildx imagetools inspect docker.io/library/rust:1.95-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker buildx imagetools inspect gcr.io/distroless/static-debian12:nonroot --format '{{.Manifest.Digest}}'
# and append @sha256:... to the names below, or pass them with --build-arg.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# The image's own toolchain: rust-toolchain.toml asks for components that a build does not need.
ARG REVISION=unknown
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    RUSTFLAGS="-C target-feature=+crt-static" \
    ALIKAFKA_EXPORTER_REVISION="${REVISION}"
COPY . .
# A target that is named keeps RUSTFLAGS away from build scripts and macros, which cannot be static.
# The cache mounts hold the registry and finished crates between builds; neither is part of a layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-gnu" \
    && cargo build --release --locked --bin alikafka-exporter --target "$target" \
    && cp "target/$target/release/alikafka-exporter" /alikafka-exporter

# Holds CA certificates, time zones, and the user 65532; neither shell nor package manager.
FROM ${BASE_IMAGE}
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
