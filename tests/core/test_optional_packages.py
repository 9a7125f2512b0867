"""Optional packages, and what they are told before they are imported."""

import os
import subprocess
import sys

import pytest

from edgecnn.optional_packages import require


@pytest.mark.parametrize("module", ["onnxruntime", "json"])
def test_whatever_is_imported_onnx_runtime_is_told_before(module, monkeypatch):
    """Others import it in turn, as onnxsim does."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    require(module, "a test")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_matplotlib_makes_no_folder_of_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    require("matplotlib", "a test")
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "cache/edgecnn/matplotlib")
    (tmp_path / "config/matplotlib").mkdir(parents=True)
    monkeypatch.delenv("MPLCONFIGDIR")
    require("matplotlib", "a test")
    assert "MPLCONFIGDIR" not in os.environ, "its user's settings are heeded"


def test_onnx_runtime_reports_nothing(exported, tmp_path):
    model = exported("lenet5", "--batch", "4")
    # CI says so itself, and hushes it.
    plain = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}

    def left_behind(program: str) -> set[str]:
        folder = tmp_path / str(len(program))
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", program, str(model)], env={**plain, "TMPDIR": str(folder)}, check=True
        )
        return {path.name for path in folder.iterdir()}

    assert left_behind("import sys; from edgecnn.runtime import load; load(sys.argv[1]).close()") == set()


def test_simplifying_a_graph_imports_no_pytorch():
    code = (
        "import sys; from edgecnn import optional_packages as packages; packages.require('onnxsim', '');"
        " print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
