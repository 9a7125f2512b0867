#!/bin/sh
# The build stage of every image: makes edgecnn's wheel from the sources in the current folder, and installs it
# with EXTRAS (which may be empty) into a virtual environment, all that the last stage copies. Neither pip nor
# the sources get there.
#
#   install.sh CONSTRAINTS EXTRAS [OPTION OF python3 -m venv]...
set -eu
constraints=$1 extras=$2
shift 2

# Ubuntu 22.04's own pip cannot install into another environment (--python).
python3 -m venv /opt/build
pip() { /opt/build/bin/python -m pip --no-cache-dir --disable-pip-version-check "$@"; }
pip install --constraint "$constraints" pip hatchling
pip wheel --no-deps --no-build-isolation --wheel-dir /opt/build/wheel .

python3 -m venv --without-pip "$@" /opt/edgecnn
wheel=$(ls /opt/build/wheel/edgecnn-*.whl)
pip --python /opt/edgecnn/bin/python install --constraint "$constraints" "$wheel${extras:+[$extras]}"
