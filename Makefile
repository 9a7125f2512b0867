# Everything runs in .venv, which the first target that needs it makes.
#   make demo    the main job, a real prediction and a latency table
#   make test    the test suite            make test-slow    the long tests
#   make lint    style, types, layers      make bench        the first table of docs/benchmarks.md
#   make zoo     every network through the whole export; makes docs/zoo.md
#   make fuzz    wrong inputs, by the hundred thousand
#   make house   what makes the house hard to extend, counted; draws docs/architecture.svg
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
# OpenSSH's server, for the tests of boards, a library of its own, and one that shows it the user that root's needs.
DEBIAN_POOL := http://deb.debian.org/debian/pool/main
SSHD := o/openssh/openssh-server_9.2p1-2%2bdeb12u10_amd64.deb
SSHD_SHA256 := 933cd92a2329f9bf26d22660a834ae18ebdbe8df9c6127e4d9fcb098dac9cf72
LIBWRAP := t/tcp-wrappers/libwrap0_7.6.q-32_amd64.deb
LIBWRAP_SHA256 := cbce2669a3ba4d74cfdc52b14f38014893e23d85a33d109a3422c342eefc55f8
NSSWRAPPER := n/nss-wrapper/libnss-wrapper_1.1.12-1_amd64.deb
NSSWRAPPER_SHA256 := 8bdc077d4f69f152da4ebd75f3a60ecbfa7e449e7a73915f11f269699aee4163
# strace, for the tests of what commands write and connect to, and a library of its own.
STRACE := s/strace/strace_6.1-0.1_amd64.deb
STRACE_SHA256 := 1942d086a6244a1a9643489d3b0aa604ac44b88991d6c69217a63a193671bd4f
LIBUNWIND := libu/libunwind/libunwind8_1.6.2-3_amd64.deb
LIBUNWIND_SHA256 := 7b297868682836e4c87be349f17e4a56bc287586e3576503e84a5cb5485ce925
# An emulator of processors that this machine is not, for the tests of int8 without VNNI: one file of its package.
QEMU := q/qemu/qemu-user-static_7.2%2bdfsg-7%2bdeb12u18%2bb3_amd64.deb
QEMU_SHA256 := c3e3ba2bd87f8c5b9a5da5ef21b5a3b82d7c63b89dd448d9ddaa4eabc5b6e402
# TensorRT's types, apart from the packages: Python would take them for TensorRT itself.
STUBS := tensorrt-stubs==10.13.0.35.1

.PHONY: demo test test-slow fuzz zoo backends lint house bench clean

demo: .venv/cpu
	@mkdir -p demo
	$(EDGECNN) export mobilenet --alpha 0.5 -o demo/float.onnx
	$(EDGECNN) export mobilenet --alpha 0.5 --int8 -o demo/int8.onnx
	$(EDGECNN) export mobilenet --alpha 0.5 --int8 --target cpu -o demo/int8_cpu.onnx
	$(EDGECNN) export efficientnet_lite0 --weights imagenet --int8 --target cpu -o demo/espresso.onnx
	$(EDGECNN) predict demo/espresso.onnx edgecnn/runtime/espresso.jpg
	$(EDGECNN) profile demo/float.onnx demo/int8.onnx demo/int8_cpu.onnx

# Test modules and the package are compiled once, also where Python is told to keep nothing compiled: each process of
# the tests would compile them anew.
test test-slow: export PYTHONDONTWRITEBYTECODE =

# Three workers on two cores: one of them waits now and then.
test: .venv/dev | build/sshd build/strace build/qemu
	$(BIN)/pytest -n 3 --dist worksteal --durations 20

# The C++ and browser examples also need: apt install cmake g++ npm chromium chromium-driver
# The emulated board also needs root, and: apt install debootstrap qemu-user-static openssh-client
test-slow: .venv/dev | build/onnxruntime build/sshd build/strace build/qemu examples/browser/node_modules
	$(BIN)/pytest -n 2 --dist worksteal --durations 20 -m slow

# Inputs that were made wrong, FUZZ_CHEAP for each door that opens in microseconds and FUZZ_DEAR for the others; what is
# found lies in build/fuzz. Another FUZZ_SEED makes others.
FUZZ_SEED ?= 1
FUZZ_CHEAP ?= 100000
FUZZ_DEAR ?= 5000
fuzz: .venv/dev
	$(BIN)/python tests/fuzz/fuzz.py metadata manifests images frames pickles --count $(FUZZ_CHEAP) --seed $(FUZZ_SEED)
	$(BIN)/python tests/fuzz/fuzz.py checkpoints recipes stores "command lines" --count $(FUZZ_DEAR) --seed $(FUZZ_SEED)

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
	$(BIN)/python tests/house/house.py
	$(BIN)/tally lint --context . docker/*.Dockerfile

house: .venv/dev
	$(BIN)/python tests/house/draw.py
	$(BIN)/python tests/house/house.py

bench: .venv/dev
	$(BIN)/python benchmarks/export_time.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/profile_overhead.py
	$(BIN)/python benchmarks/calibration_memory.py
	$(BIN)/python benchmarks/eval_throughput.py
	$(BIN)/python benchmarks/train_throughput.py
	$(BIN)/python benchmarks/predict_overlap.py
	$(BIN)/python benchmarks/quantization.py

# ONNX Runtime's C++ headers, which its wheel leaves out, from Debian's package; a library takes the headers of
# an older release. Without them, or without npm, the tests of those examples are skipped and say so.
build/onnxruntime:
	@mkdir -p build
	-curl -fsSo build/onnxruntime.deb $(ORT_HEADERS) && \
	  echo "$(ORT_HEADERS_SHA256)  build/onnxruntime.deb" | sha256sum --check --quiet && \
	  dpkg-deb --extract build/onnxruntime.deb $@

# Only where the machine has none. Without it the tests of boards use a stand-in, and those of SSH itself are skipped.
build/sshd:
	@mkdir -p build
	test -x /usr/sbin/sshd || \
	  { curl -fsSo build/sshd.deb $(DEBIAN_POOL)/$(SSHD) && curl -fsSo build/libwrap.deb $(DEBIAN_POOL)/$(LIBWRAP) && \
	  curl -fsSo build/nsswrapper.deb $(DEBIAN_POOL)/$(NSSWRAPPER) && \
	  echo "$(SSHD_SHA256)  build/sshd.deb" | sha256sum --check --quiet && \
	  echo "$(LIBWRAP_SHA256)  build/libwrap.deb" | sha256sum --check --quiet && \
	  echo "$(NSSWRAPPER_SHA256)  build/nsswrapper.deb" | sha256sum --check --quiet && \
	  dpkg-deb --extract build/libwrap.deb $@ && dpkg-deb --extract build/nsswrapper.deb $@ && \
	  dpkg-deb --extract build/sshd.deb $@; }

# Likewise. Without it the tests that need it are skipped.
build/strace:
	@mkdir -p build
	-command -v strace > /dev/null || \
	  { curl -fsSo build/strace.deb $(DEBIAN_POOL)/$(STRACE) && curl -fsSo build/libunwind.deb $(DEBIAN_POOL)/$(LIBUNWIND) && \
	  echo "$(STRACE_SHA256)  build/strace.deb" | sha256sum --check --quiet && \
	  echo "$(LIBUNWIND_SHA256)  build/libunwind.deb" | sha256sum --check --quiet && \
	  dpkg-deb --extract build/libunwind.deb $@ && dpkg-deb --extract build/strace.deb $@; }

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
