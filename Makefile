# Everything runs in .venv, which the first target that needs it makes.
#   make demo    the main job, a real prediction and a latency table
#   make test    the test suite            make test-slow    the long tests
#   make lint    style, types, layers      make bench        the benchmarks of docs/benchmarks.md
#   make zoo     every network through the whole export; makes docs/zoo.md
#   make backends  each family through every backend; makes docs/backends.md
#
# INDEX is another package index to look in, for instance PyTorch's CPU builds:
#   make demo INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
INDEX ?=
BIN := .venv/bin
EDGECNN := $(BIN)/edgecnn
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	$(if $(INDEX),--extra-index-url $(INDEX))
# What the tests compare the zoo with. Without their dependencies: the CPU build of PyTorch has no torchvision.
ORACLES := torchvision==0.28.0 timm==1.0.31
ORT_HEADERS := http://deb.debian.org/debian/pool/main/o/onnxruntime/libonnxruntime-dev_1.21.0+dfsg-1_amd64.deb
ORT_HEADERS_SHA256 := 14f7d959d5deacbcf1504830d4189f91fc67382b399ed9ae9d3aa9c4050ced08
# OpenSSH's server, for the tests of boards, and a library of its own.
DEBIAN_POOL := http://deb.debian.org/debian/pool/main
SSHD := o/openssh/openssh-server_9.2p1-2%2bdeb12u10_amd64.deb
SSHD_SHA256 := 933cd92a2329f9bf26d22660a834ae18ebdbe8df9c6127e4d9fcb098dac9cf72
LIBWRAP := t/tcp-wrappers/libwrap0_7.6.q-32_amd64.deb
LIBWRAP_SHA256 := cbce2669a3ba4d74cfdc52b14f38014893e23d85a33d109a3422c342eefc55f8
# An emulator of processors that this machine is not, for the tests of int8 without VNNI: one file of its package.
QEMU := q/qemu/qemu-user-static_7.2%2bdfsg-7%2bdeb12u18%2bb3_amd64.deb
QEMU_SHA256 := c3e3ba2bd87f8c5b9a5da5ef21b5a3b82d7c63b89dd448d9ddaa4eabc5b6e402
# TensorRT's types, apart from the packages: Python would take them for TensorRT itself.
STUBS := tensorrt-stubs==10.13.0.35.1

.PHONY: demo test test-slow zoo backends lint bench clean

demo: .venv/cpu
	@mkdir -p demo
	$(EDGECNN) export mobilenet --alpha 0.5 -o demo/float.onnx
	$(EDGECNN) export mobilenet --alpha 0.5 --int8 -o demo/int8.onnx
	$(EDGECNN) export mobilenet --alpha 0.5 --int8 --target cpu -o demo/int8_cpu.onnx
	$(EDGECNN) export efficientnet_lite0 --weights imagenet --int8 --target cpu -o demo/espresso.onnx
	$(EDGECNN) predict demo/espresso.onnx edgecnn/runtime/espresso.jpg
	$(EDGECNN) profile demo/float.onnx demo/int8.onnx demo/int8_cpu.onnx

test: .venv/dev | build/openssh build/qemu
	$(BIN)/pytest -n 2

# The C++ and browser examples also need: apt install cmake g++ npm chromium chromium-driver
# The emulated board also needs root, and: apt install debootstrap qemu-user-static openssh-client
test-slow: .venv/dev | build/onnxruntime build/openssh build/qemu examples/browser/node_modules
	$(BIN)/pytest -n 2 -m slow

# Every network through the whole export; makes docs/zoo.md.
zoo: .venv/dev
	EDGECNN_ZOO_ROWS=build/zoo $(BIN)/pytest -n 2 -m slow tests/zoo/test_every_export.py
	$(BIN)/python benchmarks/zoo_table.py build/zoo

# The smallest network of each family through every backend; makes docs/backends.md.
backends: .venv/dev
	$(BIN)/python benchmarks/backends_table.py build/backends

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/tally lint --context . docker/*.Dockerfile

bench: .venv/dev
	$(BIN)/python benchmarks/export_time.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/profile_overhead.py
	$(BIN)/python benchmarks/calibration_memory.py
	$(BIN)/python benchmarks/quantization.py

# ONNX Runtime's C++ headers, which its wheel leaves out, from Debian's package; a library takes the headers of
# an older release. Without them, or without npm, the tests of those examples are skipped and say so.
build/onnxruntime:
	@mkdir -p build
	-curl -fsSo build/onnxruntime.deb $(ORT_HEADERS) && \
	  echo "$(ORT_HEADERS_SHA256)  build/onnxruntime.deb" | sha256sum --check --quiet && \
	  dpkg-deb --extract build/onnxruntime.deb $@

# Only where the machine has none. Without it the tests of boards use a stand-in, and those of SSH itself are skipped.
build/openssh:
	@mkdir -p build
	-test -x /usr/sbin/sshd || \
	  { curl -fsSo build/sshd.deb $(DEBIAN_POOL)/$(SSHD) && curl -fsSo build/libwrap.deb $(DEBIAN_POOL)/$(LIBWRAP) && \
	  echo "$(SSHD_SHA256)  build/sshd.deb" | sha256sum --check --quiet && \
	  echo "$(LIBWRAP_SHA256)  build/libwrap.deb" | sha256sum --check --quiet && \
	  dpkg-deb --extract build/libwrap.deb $@ && dpkg-deb --extract build/sshd.deb $@; }

# As above. Without it the tests of a processor without VNNI are skipped.
build/qemu:
	@mkdir -p build
	-command -v qemu-x86_64 >/dev/null || command -v qemu-x86_64-static >/dev/null || \
	  { curl -fsSo build/qemu.deb $(DEBIAN_POOL)/$(QEMU) && \
	  echo "$(QEMU_SHA256)  build/qemu.deb" | sha256sum --check --quiet && mkdir -p $@ && \
	  dpkg-deb --fsys-tarfile build/qemu.deb | tar -x -C $@ ./usr/bin/qemu-x86_64-static; }

examples/browser/node_modules: examples/browser/package-lock.json
	-cd examples/browser && npm ci --no-audit --no-fund --silent

# The environment of a user on a CPU, and the one of a developer.
.venv/cpu .venv/dev: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	$(PIP) --editable ".[$(@F)]"
	$(if $(filter dev,$(@F)),$(PIP) --no-deps $(ORACLES))
	$(if $(filter dev,$(@F)),$(PIP) --no-deps --upgrade --target .venv/stubs $(STUBS))
	@touch $@

clean:
	rm -rf .venv demo build examples/browser/node_modules
