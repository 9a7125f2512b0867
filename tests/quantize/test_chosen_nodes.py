"""What a user leaves in float: which nodes a pattern matches, and that it stays so to the end."""

import json

import numpy as np
import onnx
import program
import pytest
from program import run_here as run
from small_graphs import model_of

from edgecnn.artifact import read_manifest
from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.progress import silent
from edgecnn.quantize.effort_levels import FITTED
from edgecnn.quantize.escalate import SENSITIVE
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes, matching
from edgecnn.quantize.placement.remove_qdq import to_scheme
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.reduce_precision import by_escalation
from edgecnn.quantize.reference import Reference
from edgecnn.schemes import CPU, OPENVINO, PORTABLE, SCHEMES

NODES = (
    "k = Conv(x, w, b) r = Relu(k) c = Conv(r, w) s = Add(c, r) t = Relu(s) d = Conv(t, w)"
    " e = Sigmoid(d) y = Conv(e, w)"
)


@pytest.fixture(scope="module")
def graph():
    return Graph(model_of(NODES))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("pattern", "nodes"),
    [
        ("Conv", "Conv"),
        ("Conv*", "Conv Conv2 Conv3 Conv4"),
        ("Conv[23]", "Conv2 Conv3"),
        ("s", "Add"),  # a node by what it makes: files with nameless nodes have no other name for it
        ("op:Relu", "Relu Relu2"),
        ("op:*d*", "Add Sigmoid"),
        ("r..t", "Conv2 Add Relu2"),
        ("r..s", "Conv2 Add"),
        ("d..", "Sigmoid Conv4"),
        ("..r", "Conv Relu"),
        ("x..y", "Conv Relu Conv2 Add Relu2 Conv3 Sigmoid Conv4"),
    ],
)
def test_a_pattern_matches(pattern, nodes, graph):
    assert matching(graph, pattern) == nodes.split()


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("conv2", "matches no node", "did you mean Conv2?"),
        ("model.22/*", "matches no node", "there are Add, Conv"),
        ("op:Sofmax", "has no Sofmax", "known names: Add, Conv, Relu, Sigmoid"),
        ("op:Sigmoud", "has no Sigmoud", "did you mean Sigmoid"),
        ("Add..t", "'Add' is no tensor", "the node of that name makes 's'"),
        ("t..r", "no node lies between", "the other way round: 'r..t'"),
        ("..nothing", "'nothing' is no tensor", "there are c, d"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_a_way_out(pattern, message, hint, graph):
    with pytest.raises(InvalidValueError, match="`exclude`") as caught:
        ChosenNodes(exclude=(pattern,)).float_nodes(graph)
    assert message in str(caught.value) and hint in caught.value.hint


def test_a_node_called_like_a_pattern_is_that_node():
    model = model_of("k = Conv(x, w) y = Conv(k, w)")
    model.graph.node[0].name, model.graph.node[1].name = "op:Conv", "x..k[0]"
    assert matching(Graph(model), "op:Conv") == ["op:Conv"]
    assert matching(Graph(model), "x..k[0]") == ["x..k[0]"]


def test_only_leaves_all_others_in_float_and_exclude_still_holds(graph):
    rules = ChosenNodes(exclude=("Conv3",), only=("op:Conv", "op:Relu")).float_nodes(graph)
    assert rules == {
        **dict.fromkeys(("Add", "Sigmoid"), "not chosen by op:Conv, op:Relu"),
        "Conv3": "excluded: Conv3",
    }


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_it_stays_float_with_its_rule_in_every_scheme_and_after_another_target(scheme, images):
    chosen = ChosenNodes(exclude=("r..t",))
    made = Quantizer(model_of(NODES), lambda: [images], scheme, "minmax", chosen=chosen)(FITTED)
    kept = json.loads(json.dumps(made.to_json()))
    assert kept["exclude"] == ["r..t"] and "only" not in kept
    for goal in SCHEMES:
        float_nodes = to_scheme(made.model, kept, goal)[1].float_nodes
        assert {name for name, rule in float_nodes.items() if rule == "excluded: r..t"} == {
            "Conv2", "Add", "Relu2",
        }  # fmt: skip


def test_what_only_a_choice_makes_a_tensor_of_its_own_has_a_range_for_every_scheme(images):
    """Without the choice the pooling shares its input's range, which is then not measured at its output."""
    nodes = "c = Conv(x, w) m = MaxPool <kernel_shape = [2, 2]> (c) d = Conv(m, w) y = Conv(d, w)"
    chosen = ChosenNodes(exclude=("op:MaxPool",))
    made = Quantizer(model_of(nodes), lambda: [images], PORTABLE, "minmax", chosen=chosen)(FITTED)
    model, placement = to_scheme(made.model, made.to_json(), CPU)
    assert "m" in placement.observed
    onnx.checker.check_model(model, full_check=True)


def test_nothing_left_to_quantize_is_an_error(images):
    with pytest.raises(InvalidValueError, match="leave no convolution"):
        Quantizer(model_of(NODES), lambda: [images], CPU, chosen=ChosenNodes(only=("op:Relu",)))


def test_layers_that_are_left_float_for_a_budget_come_beside_those_of_the_user(images):
    model = model_of(NODES)
    quantizer = Quantizer(model, lambda: [images], OPENVINO, "minmax", chosen=ChosenNodes(exclude=("Conv",)))
    choose = by_escalation(Reference.of(model, images), "fast", Budget(min_sqnr_db=200), silent)
    outcome = choose(quantizer)
    assert outcome.quantized.float_nodes["Conv"] == "excluded: Conv"
    counts = [attempt for attempt in outcome.attempts if "float" in attempt.name]
    # One of the three others may become float, at most half of what is int8.
    assert [attempt.name for attempt in counts] == ["bias correction, 1 layer float"]
    assert counts[0].int8_mac_share == pytest.approx(0.5)
    assert SENSITIVE not in outcome.quantized.float_nodes.values()


def test_the_command_says_it_and_keeps_it(exported, tmp_path):
    network = exported(*program.SMALL)
    first = onnx.load(network).graph.node[0].name
    int8, cpu = tmp_path / "q.onnx", tmp_path / "cpu.onnx"
    common = ("--calib-images", "4", "--check-images", "8", "--effort", "fast", "--json")
    done = run("quantize", str(network), "-o", str(int8), "--exclude", first, "--exclude", "op:Gemm", *common)
    assert done.returncode == 0, done.stderr
    quantization = json.loads(done.stdout)["quantization"]
    assert quantization["exclude"] == [first, "op:Gemm"]
    assert quantization["float_nodes"][first] == f"excluded: {first}"
    done = run("quantize", "--from", str(int8), "--target", "cpu", "-o", str(cpu), "--json")
    assert done.returncode == 0, done.stderr
    kept = read_manifest(cpu).quantization
    assert kept["exclude"] == [first, "op:Gemm"] and kept["float_nodes"][first] == f"excluded: {first}"
    done = run("quantize", str(network), "-o", str(int8), "--only", "op:Softmax", *common)
    assert done.returncode == 1 and "--only 'op:Softmax': the network has no Softmax" in done.stderr
    done = run("quantize", str(network), "-o", str(int8), "--fp16", "--exclude", first)
    assert done.returncode == 1 and "belong to int8" in done.stderr


def test_training_refuses_it_without_qat():
    done = run("train", "lenet5", "--data", "digits", "--exclude", "op:Gemm")
    assert done.returncode == 2 and "--exclude belongs to --qat" in done.stderr
