"""Networks of a user's own are exported with all their outputs, whatever these are wrapped in."""

from typing import NamedTuple

import numpy as np
import own_code
import pytest
import torch
from program import run_here
from torch import nn

import edgecnn
from edgecnn.runtime.ort_engine import open_session
from edgecnn.zoo.network_outputs import named


class Heads(NamedTuple):
    boxes: torch.Tensor
    scores: torch.Tensor


def test_outputs_are_called_by_keys_fields_and_places():
    a, b = torch.zeros(1), torch.ones(1)
    assert list(named(a)) == ["logits"]
    assert list(named((a, None, b))) == ["output_0", "output_2"]
    assert list(named({"input": a, "heads": Heads(a, b)})) == ["input_output", "heads_boxes", "heads_scores"]
    for nothing in ({}, None, [3]):
        with pytest.raises(edgecnn.InvalidValueError):
            named(nothing)


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    path = own_code.write(folder)
    written = edgecnn.export_model(
        f"{path}:TwoHeads",
        folder / "two.onnx",
        size="16x24",
        arg={"width": 8},
        precision="int8",
        target="cpu",
        effort="fast",
        calib_images=16,
    )
    return written, f"{path}:TwoHeads"


def test_every_output_is_there_by_its_name_and_its_kind(two_heads):
    manifest = two_heads[0].manifest
    assert [(item.name, item.shape, item.dtype) for item in manifest.outputs] == [
        ("kind", ("batch", 2), "float32"),
        ("heads_output_0", ("batch", 1), "float32"),
        ("heads_output_1", ("batch",), "int64"),
    ]
    assert manifest.inputs[0].shape == ("batch", 3, 16, 24) and manifest.resolution == "16x24"
    assert manifest.architecture == "nets.py:TwoHeads"


def test_the_file_computes_what_the_network_computes(two_heads):
    from edgecnn.api import create_model

    written, reference = two_heads
    assert {item.name for item in written.parity.outputs} >= {"kind", "heads_output_0"}
    assert written.parity.sqnr_db > 15
    session = open_session(written.path.read_bytes())
    assert [item.name for item in session.get_outputs()] == ["kind", "heads_output_0", "heads_output_1"]
    assert not create_model(reference, size="16x24", arg={"width": 8}).training


def test_names_of_nodes_are_those_of_layers(two_heads):
    assert {"body.0.conv", "body.1.narrow", "kind"} <= two_heads[0].manifest.layers.keys()


def test_what_the_code_prints_is_no_result(tmp_path):
    path = own_code.write(tmp_path)
    done = run_here("export", f"{path}:Scores", "--size", "16", "--json", "-o", str(tmp_path / "m.onnx"))
    assert done.returncode == 0 and done.stdout.startswith("{") and "seen" in done.stderr


def test_an_output_without_a_row_for_each_image_is_refused(tmp_path):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten()

    with pytest.raises(edgecnn.InvalidValueError, match="for 8 images") as caught:
        edgecnn.export_model(Flat(), tmp_path / "m.onnx", size=8)
    assert "a row for each image" in caught.value.hint


def test_what_cannot_be_traced_says_where(tmp_path):
    text = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
    text += "        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))\n"
    (tmp_path / "nets.py").write_text(text)
    with pytest.raises(edgecnn.CodeError, match=r"nets\.py, line 4") as caught:
        edgecnn.export_model(f"{tmp_path}/nets.py:Net", tmp_path / "m.onnx", size=8)
    assert "\n" not in str(caught.value) and not (tmp_path / "m.onnx").exists()


def test_scores_behind_a_softmax_are_compared_by_what_enters_it(tmp_path):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4), nn.Softmax(1))
    written = edgecnn.export_model(body, tmp_path / "m.onnx", size=8)
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    (given,) = open_session(written.path.read_bytes()).run(None, {"input": image})
    np.testing.assert_allclose(given, body(torch.from_numpy(image)).detach().numpy(), atol=1e-5)
    assert written.parity.sqnr_db > 90
