"""docker/build_cpu.sh: the CPU image, built and run for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "build_cpu.sh"


def test_a_missing_tool_is_named_with_its_package(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the script asks for root first")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "realpath", "dirname", "id"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [str(tools / "bash"), str(SCRIPT), "model.onnx"],
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "apt-get install buildah" in done.stderr


@pytest.mark.slow
def test_the_cpu_image_is_built_and_runs_an_exported_network(tmp_path, exported):
    lacks = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacks:
        pytest.skip("needs root" if os.geteuid() != 0 else f"needs Debian's {' and '.join(lacks)}")
    model = exported("efficientnet_lite0", "--weights", "imagenet")
    done = subprocess.run(
        [str(SCRIPT), str(model)], env={**os.environ, "CACHE": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said = dict(re.findall(r"^\$ ([^\n]*)\n(.*?)(?=^\$ |^size of|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert said["id -u"].strip() == "10001"
    assert re.search(r"ok +ONNX Runtime", said["edgecnn doctor"])
    assert re.search(r"ok +OpenVINO", said["edgecnn doctor"])
    (prediction,) = [answer for command, answer in said.items() if command.startswith("edgecnn predict")]
    assert "espresso" in prediction.splitlines()[1]
    (measured,) = [answer for command, answer in said.items() if command.startswith("edgecnn profile")]
    assert json.loads(measured)["latency_ms"]["p50"] > 0
    assert re.search(r"^size of localhost/edgecnn:cpu: [1-6]\d\d MB$", done.stdout, re.MULTILINE)
