# A Jetson Orin with JetPack 6 (Jetson Linux 36, Ubuntu 22.04, Python 3.10), with NVIDIA's TensorRT 10.3 for it:
#
#   docker build -f docker/jetpack6.Dockerfile -t edgecnn:jetpack6 .
#
# An engine runs only on the TensorRT that built it, and PyPI's is not made for Orin's Linux, so TensorRT and its
# Python package come from the base, a third of l4t-jetpack's size. Not built by the checks, which have no
# such board. BASE=...-runtime@sha256:... pins the bytes too.
ARG BASE=nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime

FROM ${BASE} AS build

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

COPY . .

ARG EXTRAS=

RUN docker/install.sh docker/jetpack6.constraints.txt "${EXTRAS}" --system-site-packages

FROM ${BASE}

LABEL org.opencontainers.image.title="edgecnn for JetPack 6" \
      org.opencontainers.image.url="https://github.com/edgecnn/edgecnn" \
      org.opencontainers.image.licenses="Apache-2.0"

# The GPU's device files belong to the group video. TensorRT is looked for, not imported: that takes a library
# which the board lends when the container starts.
RUN useradd --uid 10001 --user-group --groups video --create-home edgecnn \
    && install --directory --owner=edgecnn --group=edgecnn /work \
    && python3 -c "import importlib.util, sys; importlib.util.find_spec('tensorrt') or sys.exit('no TensorRT here')"

COPY --from=build /opt/edgecnn /opt/edgecnn

ENV PATH=/opt/edgecnn/bin:$PATH

WORKDIR /work

USER 10001

ENTRYPOINT ["edgecnn"]

CMD ["doctor"]
