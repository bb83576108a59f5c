# The gateway, without torch: Python, what it imports, the shared libraries of both, and nothing else. No shell, no
# package manager, no compiler. Build it from the repository's root (make images): docs/images.md says how.
#
# The digest is that of the tag's index for all machines as the Docker Official Images published it in September 2026
# (Python 3.11.16); it was found in public repositories that pin the same, among them one that compared it with the
# official images' own records. tests/images builds on a Debian 12 of its own instead: it can pull nothing.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# --- build: everything into /opt/fovea ---------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.8
# With heic added it reads HEIC, too: 35 MB more.
ARG EXTRAS="--extra s3 --extra kubernetes --extra redis --extra traces"
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never PIP_NO_CACHE_DIR=1
# Where an index or a certificate of your own is needed, hand them in as secrets: they are in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==${UV_VERSION}"
WORKDIR /src
COPY pyproject.toml deploy/environments/gateway.txt ./
# What it needs changes seldom: a layer of its own.
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv venv --quiet --python python3 /opt/fovea \
    && /opt/uv/bin/uv pip install --quiet --python /opt/fovea/bin/python --constraints gateway.txt \
        --requirements pyproject.toml ${EXTRAS}
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
ENV PATH=/opt/fovea/bin:/usr/local/bin:/usr/bin HOME=/tmp LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FOVEA_HTTP__HOST=0.0.0.0
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# In exec form, as all commands here: there is no shell.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["fovea", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fovea"]
CMD ["gateway"]
# Last, since they change with every build.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fovea-gateway" \
      org.opencontainers.image.description="An OpenAI-compatible gateway for vision-language models on vLLM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
