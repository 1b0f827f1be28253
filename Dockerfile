# The image of the bridge: Debian's Python, the hashed packages, the bridge and its definitions.
# No shell, no package manager, no compiler; read-only, uid 1001. `make image` carries out these
# same steps without a Docker daemon and measures the result.
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
COPY deploy/image/packages.txt deploy/image/debian.sh deploy/image/
RUN deploy/image/debian.sh /image
COPY requirements/tracing.txt requirements/
COPY deploy/image/python.sh deploy/image/
RUN deploy/image/python.sh /image
COPY LICENSE ./
COPY backstage-actions/actions backstage-actions/actions
COPY bridge bridge
COPY deploy/image/bridge.sh deploy/image/bridge deploy/image/healthcheck.py deploy/image/
RUN deploy/image/bridge.sh /image

FROM scratch
COPY --from=build /image/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="backstage-argo-bridge" \
      org.opencontainers.image.description="Backstage scaffolder actions that run Argo Workflows" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="scratch"
ENV BRIDGE_HOST=0.0.0.0 \
    BRIDGE_PORT=8080 \
    BRIDGE_ACTIONS=/app/backstage-actions/actions \
    BRIDGE_DATABASE=/var/lib/bridge/bridge.db \
    HOME=/var/lib/bridge \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 1001:1001
WORKDIR /app
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/usr/bin/python3.11", "-I", "/app/healthcheck.py"]
ENTRYPOINT ["/usr/local/bin/bridge"]
CMD ["serve"]
