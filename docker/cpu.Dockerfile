# A CPU, x86 or Arm, with ONNX Runtime and OpenVINO:
#
#   docker build -f docker/cpu.Dockerfile -t edgecnn:cpu .
#
# Debian 12 has Python 3.11, on which the tests run, and installs what is missing from its own archive. A dated tag
# does not move; BASE=...-slim@sha256:... pins the bytes too. docker/build_cpu.sh builds and runs this file on a
# Debian 12 that debootstrap made.
ARG BASE=docker.io/library/debian:bookworm-20260824-slim

FROM ${BASE} AS build

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

COPY . .

# "ort,openvino,export" adds PyTorch, for exporting and quantizing.
ARG EXTRAS=ort,openvino

RUN docker/install.sh constraints.txt "${EXTRAS}"

FROM ${BASE}

LABEL org.opencontainers.image.title="edgecnn for a CPU" \
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
