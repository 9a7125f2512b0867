"""Optional packages, and what they are told before they are imported."""

import os
import subprocess
import sys


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
