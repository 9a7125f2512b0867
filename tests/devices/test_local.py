import os
import stat

import pytest

from edgecnn.devices import this_machine
from edgecnn.runtime import ort_probe


def test_a_jetson_is_known_by_its_release_file(tmp_path):
    # As JetPack 6.2 writes it on an Orin Nano.
    release = (
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8\n"
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(release + "# KERNEL_VARIANT: oot\n")
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    name = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    (tmp_path / "proc/device-tree/model").write_bytes(name.encode() + b"\0")
    assert this_machine.board(tmp_path) == f"{name}; L4T 36.4.3 (JetPack 6.2)"


def test_other_machines_are_no_jetson(tmp_path):
    assert this_machine.board(tmp_path) == ""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo 'NVIDIA GeForce RTX 4090, 8.9, 570.86, 24564 MiB'",
            "NVIDIA GeForce RTX 4090, 8.9, 570.86, 24564 MiB",
        ),
        ("echo 'no devices' >&2; exit 9", "nvidia-smi fails"),
    ],
)
def test_gpus_are_what_nvidia_smi_says(tmp_path, monkeypatch, script, expected):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert this_machine.gpu().startswith(expected)


def test_a_library_that_fails_is_reported_with_its_reason():
    def attempt() -> str:
        raise OSError("libcudart.so.13: cannot open\nshared object")

    check = this_machine._check("Something", "onnx", ["onnx"], attempt)
    assert not check.works and "libcudart.so.13: cannot open shared object" in check.detail
    assert check.remedy == 'pip install "edgecnn[export]"'


def test_onnx_runtime_is_tried_with_a_real_model():
    checks = {check.name: check for check in this_machine.examine()}
    assert checks["ONNX Runtime"].works and "CPU" in checks["ONNX Runtime"].detail


def test_the_gpu_is_tried_where_onnx_runtime_has_a_provider_for_it(monkeypatch):
    ort = pytest.importorskip("onnxruntime")
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: offered)
    assert ort_probe.probe().startswith("runs a model on the CPU, not on a GPU (")
    monkeypatch.setattr(ort_probe, "open_session", lambda model, *, device: None)
    assert ort_probe.probe().startswith("runs a model on the CPU and the GPU;")


def test_it_is_said_where_int8_is_not_exact(monkeypatch):
    monkeypatch.setattr(this_machine, "processor", lambda: "x86_64 avx2")
    for saturates, expected in ((True, "no VNNI (x86_64 avx2)"), (False, "exact (x86_64 avx2)")):
        monkeypatch.setattr(this_machine, "saturates", lambda saturates=saturates: saturates)
        assert this_machine.describe()["int8"].startswith(expected)
