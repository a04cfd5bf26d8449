# syntax=docker/dockerfile:1

# The image of the server: one binary, the root certificates, a volume.
#
#   docker build -t belfry .
#   docker run -p 127.0.0.1:7311:7311 -v belfry-data:/data belfry

# The version is the workspace's rust-version.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# Shown by /metrics and the log: docker build --build-arg BELFRY_BUILD_COMMIT=$(git rev-parse HEAD) .
ARG BELFRY_BUILD_COMMIT=unknown
COPY . .
# Registry and target directory are kept between builds, so the binary is copied out of the cache in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    BELFRY_BUILD_COMMIT=$BELFRY_BUILD_COMMIT cargo build --release --locked --package belfry \
    && cp target/release/belfry /usr/local/bin/belfry

# The same Debian as above: the binary uses its C library.
FROM debian:bookworm-slim
# Root certificates, for receivers with TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /data belfry \
    && install -d -m 0700 -o belfry -g belfry /data
COPY --from=build /usr/local/bin/belfry /usr/local/bin/belfry

# In a container the loopback address would reach nobody; what is published, and to whom, `docker run -p` decides.
ENV BELFRY_SERVER__LISTEN=0.0.0.0:7311 \
    BELFRY_DATA__DIR=/data
USER belfry
WORKDIR /data
VOLUME /data
EXPOSE 7311

# /readyz answers 200 only when the server takes events. The image has no HTTP client; bash can open a connection.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7311 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && test \"$status\" = 200"]

# SIGTERM: requests and deliveries under way finish, see docs/operations/running.md.
STOPSIGNAL SIGTERM
ENTRYPOINT ["belfry"]
CMD ["serve"]
