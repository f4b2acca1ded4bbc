# The CPU image:    docker build --tag autochrome:0.1.0 .
# The GPU image:    docker build --tag autochrome:0.1.0-cuda --build-arg DEVICE=cuda .
# docs/operations.md says how to run them, and how large which layer is.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG DEVICE=cpu

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY constraints.txt ./
ENV PIP_CONSTRAINT=/build/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: that of the base image installs into it.
RUN python -m venv --without-pip /opt/autochrome

# What the service imports changes more rarely than its code: that has a layer of its own, of some hundred kilobytes.
FROM build AS code
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
RUN pip install --no-deps --target /code .

FROM build AS requirements
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt

FROM build AS packages-cpu
# PyPI's torch brings 5 GB of CUDA libraries; this index has it without them. It has copies of some other packages, too,
# but not of all versions: those come from PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip --python /opt/autochrome/bin/python install --no-deps --index-url "${TORCH_INDEX}" torch torchvision
COPY --from=requirements /build/requirements.txt ./
RUN pip --python /opt/autochrome/bin/python install --requirement requirements.txt

FROM ${PYTHON_IMAGE} AS runtime
WORKDIR /app
# By number, so that Kubernetes can tell that it is not root. It owns nothing here, so it can change nothing.
USER 10001:10001
ENV PATH=/opt/autochrome/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    AUTOCHROME_HOST=0.0.0.0 \
    AUTOCHROME_PORT=8000 \
    AUTOCHROME_MODEL_STORE=/app/model_store
EXPOSE 8000
# Drains. No shell stands between: python is the first process.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['AUTOCHROME_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "service"]
LABEL org.opencontainers.image.title="Autochrome" \
      org.opencontainers.image.description="A REST inference microservice that colours black-and-white photographs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM runtime AS cpu
COPY --from=packages-cpu /opt/autochrome /opt/autochrome
# Readable whatever the checkout's umask was. Other weights: a folder mounted here, see docs/operations.md.
COPY --chmod=755 model_store ./model_store
COPY --from=code /code ./
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

FROM build AS packages-cuda
COPY --from=requirements /build/requirements.txt ./
RUN pip --python /opt/autochrome/bin/python install --requirement requirements.txt

FROM runtime AS cuda
# Asks NVIDIA's container runtime for the GPUs and the driver's libraries; CUDA's own come with torch.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/autochrome /opt/autochrome
COPY --chmod=755 model_store ./model_store
COPY --from=code /code ./
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

FROM ${DEVICE}
