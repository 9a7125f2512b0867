"""TensorRT's programming interface, of which no version but TensorRT-RTX's can be installed without a GPU.

`make .venv/dev` puts the type stubs of TensorRT 10.13 into .venv/stubs: not among the packages, where Python
would take them for an empty TensorRT.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUBS = Path(os.environ.get("TENSORRT_STUBS", ROOT / ".venv" / "stubs"))
MODULES = [
    *(ROOT / "edgecnn" / "compile").glob("tensorrt*.py"),
    *(ROOT / "edgecnn" / "runtime").glob("tensorrt*.py"),
]
#: What TensorRT-RTX alone has.
RTX = {"ComputeCapability", "DynamicShapesKernelSpecializationStrategy"}


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """The stubs with their few syntax errors mended."""
    if not (STUBS / "tensorrt_bindings").is_dir():
        pytest.skip("no stubs: make .venv/dev")
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("tensorrt", "tensorrt_bindings"):
        shutil.copytree(STUBS / name, folder / name)
    bindings = folder / "tensorrt_bindings" / "tensorrt.pyi"
    text = re.sub(r"\bin: ", "in_: ", bindings.read_text())  # a keyword as a parameter
    bindings.write_text(text.replace("channel_axis: int)", "channel_axis: int = ...)"))  # after defaults
    return folder


def test_calls_of_the_library_fit_its_types(stubs, tmp_path):
    # A call that does not: where the stubs are not found, everything fits.
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import tensorrt\n\ndef f(c: tensorrt.IBuilderConfig) -> None:\n    c.no_such_thing()\n")
    # What the library's types say is checked, and nothing of other libraries, whose types take long to read.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nfollow_imports = skip\nignore_missing_imports = True\ncheck_untyped_defs = True\n"
        "disable_error_code = valid-type\n"
        "[mypy-tensorrt.*,tensorrt_bindings.*,edgecnn.runtime.*,edgecnn.compile.*]\nfollow_imports = silent\n"
    )
    options = ("--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache"))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, [*MODULES, wrong])],
        env={**os.environ, "MYPYPATH": str(stubs)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    # The stubs themselves have errors, and of arrays nothing is known.
    errors = [
        line
        for line in checked.stdout.splitlines()
        if ": error: " in line and str(stubs) not in line and "Array?" not in line
    ]
    assert len(errors) == 1 and "no_such_thing" in errors[0], checked.stdout[-2000:] + checked.stderr


def test_constants_exist_in_tensorrt_10(stubs):
    classes = {
        node.name: {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        for node in ast.parse((stubs / "tensorrt_bindings" / "tensorrt.pyi").read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    used = {
        found for path in MODULES for found in re.findall(r"\btrt\.(\w+)\.([A-Z]\w+)\b", path.read_text())
    }
    used |= {
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
    }
    assert len(used) > 10
    assert not {(name, member) for name, member in used if name not in RTX and member not in classes[name]}


def test_constants_exist_in_rtx():
    trt = pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    used = {
        found for path in MODULES for found in re.findall(r"\btrt\.(\w+)\.([A-Z]\w+)\b", path.read_text())
    }
    # Of versions before 11 alone.
    gone = {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "PROFILE_SHARING_0806"}
    assert not {
        (name, member)
        for name, member in used
        if member not in gone and not hasattr(getattr(trt, name), member)
    }
