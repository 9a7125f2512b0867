# A desktop or a server with an NVIDIA GPU: ONNX Runtime with CUDA, and TensorRT, which builds engines there:
#
#   docker build -f docker/cuda.Dockerfile -t edgecnn:cuda .
#
# PyPI's ONNX Runtime and TensorRT are made for CUDA 13, so the driver has to be 580 or later. ONNX Runtime takes
# CUDA and cuDNN from the image, hence "cudnn-runtime". Python is Ubuntu 24.04's, 3.12. Not built by the
# checks: TensorRT's wheels lie on NVIDIA's index. BASE=...-ubuntu24.04@sha256:... pins the bytes too.
ARG BASE=nvcr.io/nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04

FROM ${BASE} AS build

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

COPY . .

ARG EXTRAS=ort-gpu,tensorrt

RUN docker/install.sh constraints.txt "${EXTRAS}"

FROM ${BASE}

LABEL org.opencontainers.image.title="edgecnn for an NVIDIA GPU" \
      org.opencontainers.image.url="https://github.com/edgecnn/edgecnn" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home edgecnn \
    && install --directory --owner=edgecnn --group=edgecnn /work

COPY --from=build /opt/edgecnn /opt/edgecnn

ENV PATH=/opt/edgecnn/bin:$PATH

WORKDIR /work

USER 10001

ENTRYPOINT ["edgecnn"]

CMD ["doctor"]
