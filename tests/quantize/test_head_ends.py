"""What int8 leaves in float where a detector ends, and why: by rules with names."""

import numpy as np
import pytest
from head_graphs import BINS, yolov8_head
from program import run_here

from edgecnn.parity import Output, difference
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.reference import Network
from edgecnn.schemes import SCHEMES
from edgecnn.tasks.decoders import DECODERS


@pytest.fixture(scope="module")
def head():
    return yolov8_head()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_boxes_and_scores_end_in_float_by_rules_with_names(head, scheme):
    placement = place(Graph(head), scheme)
    rules = placement.float_nodes
    # The mean of a distribution over bins, with the softmax before it.
    assert rules["n_mean"] == "it averages a distribution: Softmax" and rules["n_shares"].endswith("Softmax")
    # Anchors and strides are constants in arithmetic.
    assert rules["n_high"] == "it adds a constant"
    assert rules["n_pixels"] in ("it multiplies by a constant", "no int8 after it: Mul")
    # Boxes and scores of two sizes under one concatenation, which no int8 follows.
    assert rules["n_output0"] == rules["n_both0"] == "no int8 after it: Concat"
    assert rules["n_sure"] == "no int8 form: Sigmoid"
    late = {"shares", "mean", "sides", "low", "high", "pixels", "sure", "all", "both0", "both1"}
    assert not late.intersection(placement.tensors)
    # Every layer that computes much is int8 all the same.
    layers = [f"n_{layer}{level}" for level in (0, 1) for layer in ("c", "p", "boxes", "s", "scores")]
    slower = [name for name, rule in rules.items() if rule == "slower in int8: few input channels"]
    assert [node.name for node in placement.compute] == [name for name in layers if name not in slower]
    assert set(slower) <= {"n_c0"}
    # Where the convolutions' own ends are int8, boxes and scores have a scale each.
    assert placement.shares.get("scores0") != "boxes0" and placement.shares.get("boxes0") is None


def test_int8_keeps_the_mean_of_a_distribution(head, tmp_path):
    import onnx

    path, output = tmp_path / "head.onnx", tmp_path / "int8.onnx"
    onnx.save(head, path)
    done = run_here("quantize", str(path), "-o", str(output), "--target", "cpu", "--effort", "fast", "--yes",
                    "--force")  # fmt: skip
    assert done.returncode == 0, done.stderr
    images = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    before, after = (Network.of_outputs(model)(images)[0].values for model in (head, onnx.load(output)))
    assert before.shape == (4, 7, 80)
    # Sides in pixels and scores, each by itself: the whole would hide the scores.
    assert difference(before[:, :4], after[:, :4])[1] > 25 and difference(before[:, 4:], after[:, 4:])[1] > 20
    decoded = DECODERS.get("yolov8").decode([Output("output0", after)], {"score": 0.5}, None)
    assert len(decoded) == 4 and BINS == 16
