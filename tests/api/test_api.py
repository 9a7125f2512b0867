"""`import edgecnn`: nothing is imported until it is used, and options are the commands' own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgecnn
from edgecnn import options
from edgecnn.measure.measure_options import ProfileRequest
from edgecnn.record import as_html


def test_importing_imports_nothing_else():
    heavy = ("numpy", "torch", "onnx", "PIL", "click")
    code = f"import sys, edgecnn; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_type_checkers_know_the_same():
    stub = ast.parse(Path(edgecnn.__file__).with_suffix(".pyi").read_text())
    told = {name.asname for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert told == set(edgecnn.__all__) and all(hasattr(edgecnn, name) for name in told)
    assert set(edgecnn.__all__) <= set(dir(edgecnn))
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        edgecnn.quantise  # noqa: B018


def test_an_unknown_option_names_its_neighbour():
    with pytest.raises(edgecnn.InvalidValueError, match="no option `secnds`") as caught:
        edgecnn.profile("m.onnx", secnds=1)
    assert "seconds" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"seconds": 0}, "`seconds` of 0 cannot be used"),
        ({"seconds": "3"}, "`seconds` is '3'"),
        ({"threads": 1.5}, "`threads` is 1.5"),
        ({"threads": True}, "`threads` is True"),
        ({"device": "tpu"}, "unknown `device` 'tpu'"),
        ({"batch": "1,1"}, "batch 1 is there twice"),
        ({}, "`models` is missing"),
    ],
)
def test_values_that_cannot_work_are_refused(values, reason):
    named = {"models": ("m.onnx",), **values} if values else {}
    with pytest.raises(edgecnn.InvalidValueError, match=reason):
        options.make(
            ProfileRequest,
            {n: options.from_text(options.fields(ProfileRequest)[n], v) for n, v in named.items()},
        )


def test_a_module_without_a_size_is_refused(tmp_path):
    from torch import nn

    with pytest.raises(edgecnn.InvalidValueError, match="how large its images are"):
        edgecnn.export_model(nn.Flatten(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_result_is_a_table_in_a_notebook():
    shown = as_html(
        {"path": "<m>", "parity": {"sqnr_db": 12.3456789}, "none": None, "rows": [{"a": 1}, {"b": 2.5}]}
    )
    assert "&lt;m&gt;" in shown and "parity.sqnr_db" in shown and "12.3457" in shown
    assert "<th>a</th><th>b</th>" in shown and "none" not in shown
