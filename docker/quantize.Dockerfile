# fovea-quantize, without torch: plans, the streaming FP8 writer, proof, evaluation against endpoints, pull and push.
# Like the gateway's image, no shell, package manager or compiler. Recipes that are calibrated need llm-compressor and
# hours of a large machine: they are run from a checkout (make setup), not here.
#
# The digest: see gateway.Dockerfile.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# --- build: everything into /opt/fovea ---------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.8
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never PIP_NO_CACHE_DIR=1
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==${UV_VERSION}"
WORKDIR /src
COPY pyproject.toml deploy/environments/gateway.txt ./
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv venv --quiet --python python3 /opt/fovea \
    && /opt/uv/bin/uv pip install --quiet --python /opt/fovea/bin/python --constraints gateway.txt \
        --requirements pyproject.toml --extra quantize --extra evaluate --extra push --extra s3
COPY README.md LICENSE ./
COPY server server
COPY quantize quantize
COPY loadtest loadtest
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv pip install --quiet --python /opt/fovea/bin/python --no-deps .

# --- root: of the base image, what the programs in /opt/fovea need -----------------------------------------------
FROM ${PYTHON_IMAGE} AS root
COPY --from=build /opt/fovea /opt/fovea
COPY docker/slim_root.py /slim_root.py
RUN python3 /slim_root.py /opt/fovea

# --- the image: one layer, in which nothing of what was removed is left ------------------------------------------
FROM scratch
# Whole, so that nothing of what was removed is in a layer beneath.
# hadolint ignore=DL3067
COPY --from=root / /
# The bundled model (14 MB): what the chart's preset cpu-demo quantizes.
COPY demo/model /opt/fovea-demo
ENV PATH=/opt/fovea/bin:/usr/local/bin:/usr/bin HOME=/tmp LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
ENTRYPOINT ["fovea-quantize"]
CMD ["--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fovea-quantize" \
      org.opencontainers.image.description="Writes FP8 checkpoints of vision-language models, and proves and measures them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
