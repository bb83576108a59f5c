# The engine on NVIDIA GPUs: stock vLLM from its wheels, and our launcher with what it plugs in. vLLM is not patched.
# Needs a driver for CUDA 13 (580 or newer). Built and run where there is a GPU and a registry, not by the tests:
# docs/images.md says what was tried of it and what was not.
#
# The digest is that of the tag's index for all machines, found in several public repositories that pin the same.
# As vLLM's own image does, it begins with CUDA's base and adds what kernels are compiled with at run time (FlashInfer,
# DeepGEMM, Triton); the libraries themselves come as wheels with torch.
ARG CUDA_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04@sha256:2ab6381d970b211fb93853796dc6707eb8a72575a375c422b17cf4d8b2641701

# --- build: uv, and what we ship as a wheel ----------------------------------------------------------------------
FROM ${CUDA_IMAGE} AS build
ARG UV_VERSION=0.13.8
ENV PIP_NO_CACHE_DIR=1
# hadolint ignore=DL3008
RUN apt-get update --quiet --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
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
FROM ${CUDA_IMAGE}
# What compiles at run time; Ubuntu and NVIDIA keep no older versions that could be pinned.
# hadolint ignore=DL3008
RUN apt-get update --quiet --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends \
        python3 python3-dev gcc g++ libc6-dev cuda-nvcc-13-0 cuda-cudart-dev-13-0 cuda-nvrtc-dev-13-0 \
        cuda-cuobjdump-13-0 libcurand-dev-13-0 libcublas-dev-13-0 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    && echo "fovea:x:10001:10001:fovea:/tmp:/nonexistent" >> /etc/passwd \
    && echo "fovea:x:10001:" >> /etc/group \
    && install --directory --owner 10001 --group 10001 /var/lib/fovea
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN --mount=type=bind,from=build,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,from=build,source=/dist,target=/dist \
    --mount=type=bind,source=pyproject.toml,target=/src/pyproject.toml \
    --mount=type=bind,source=deploy/environments,target=/src/environments \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    /opt/uv/bin/uv venv --quiet --python python3 /opt/fovea \
    && /opt/uv/bin/uv pip install --quiet --compile-bytecode --python /opt/fovea/bin/python \
        --constraints /src/environments/engine-cuda.txt --requirements /src/pyproject.toml --extra engine-cuda \
    && /opt/uv/bin/uv pip install --quiet --compile-bytecode --python /opt/fovea/bin/python --no-deps /dist/*.whl
ENV PATH=/opt/fovea/bin:/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin CUDA_HOME=/usr/local/cuda \
    HOME=/tmp LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=1800s --retries=3 \
    CMD ["fovea", "healthcheck", "--url", "http://127.0.0.1:8000/health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fovea"]
CMD ["engine", "--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fovea-engine" \
      org.opencontainers.image.description="Stock vLLM for NVIDIA GPUs, started by Fovea's launcher" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
