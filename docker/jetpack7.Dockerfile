# A Jetson Thor with JetPack 7 (Jetson Linux 38, Ubuntu 24.04, Python 3.12), with TensorRT 10.13 as on the board:
#
#   docker build -f docker/jetpack7.Dockerfile -t edgecnn:jetpack7 .
#
# Thor runs the CUDA 13 images of Arm servers (SBSA). Its TensorRT comes from NVIDIA's Debian archive, which this
# base knows: a fraction of nvcr.io/nvidia/tensorrt, which brings compilers and samples. Not built by the
# checks, which have no such board. BASE=...-ubuntu24.04@sha256:... pins the bytes too.
ARG BASE=nvcr.io/nvidia/cuda:13.0.2-base-ubuntu24.04

FROM ${BASE} AS build

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

COPY . .

ARG EXTRAS=

RUN docker/install.sh constraints.txt "${EXTRAS}" --system-site-packages

FROM ${BASE}

LABEL org.opencontainers.image.title="edgecnn for JetPack 7" \
      org.opencontainers.image.url="https://github.com/edgecnn/edgecnn" \
      org.opencontainers.image.licenses="Apache-2.0"

ARG TENSORRT=10.13.3.9-1+cuda13.0

# python3-libnvinfer brings TensorRT's Python package; the libraries are named so that they get its version.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3 \
        "libnvinfer10=${TENSORRT}" \
        "libnvinfer-plugin10=${TENSORRT}" \
        "libnvonnxparsers10=${TENSORRT}" \
        "python3-libnvinfer=${TENSORRT}" \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --groups video --create-home edgecnn \
    && install --directory --owner=edgecnn --group=edgecnn /work \
    && python3 -c "import importlib.util, sys; importlib.util.find_spec('tensorrt') or sys.exit('no TensorRT here')"

COPY --from=build /opt/edgecnn /opt/edgecnn

ENV PATH=/opt/edgecnn/bin:$PATH

WORKDIR /work

USER 10001

ENTRYPOINT ["edgecnn"]

CMD ["doctor"]
