"""An activation that a tool spelled out is one operator."""

import pytest
from foreign_graphs import constant, convolution, decibels, head, images, model_of, node, run, stem, written

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.placement.place import place
from edgecnn.schemes import CPU, PORTABLE, SCHEMES

SIX, THREE = constant("six", 6.0), constant("three", 3.0)
BOUNDS = [
    SIX,
    THREE,
    constant("zero", 0.0),
    constant("sixth", 1 / 6),
    constant("one", 1.0),
    constant("half", 0.5),
]
_GATE = [node("Add", ["b", "three"], ["p"], name="n1"), node("Clip", ["p", "zero", "six"], ["q"], name="n2")]
HARD_SWISH = {
    "divided after": [*_GATE, node("Mul", ["b", "q"], ["m"]), node("Div", ["m", "six"], ["f"])],
    "multiplied after": [*_GATE, node("Mul", ["q", "b"], ["m"]), node("Mul", ["sixth", "m"], ["f"])],
    "divided before": [*_GATE, node("Div", ["q", "six"], ["m"]), node("Mul", ["b", "m"], ["f"])],
    "the operator": [node("HardSwish", ["b"], ["f"])],
}


NUMBERS = [
    constant(f"n{index}", value)
    for index, value in enumerate((0.5, 1.0, 2.0, 3.0, 0.044715, 0.7978846, 1.4142135, 1.702))
]
_HALF, _ONE, _TWO, _THREE, _CUBIC, _TANH, _ROOT, _QUICK = (item.name for item in NUMBERS)


def chain(*steps):
    """Nodes from `op input... output` each."""
    return [node(words[0], words[1:-1], [words[-1]]) for words in (step.split() for step in steps)]


_ERF = (f"Div b {_ROOT} p", "Erf p q", f"Add q {_ONE} k")
_TANHS = (f"Mul g {_CUBIC} h", "Add b h i", f"Mul i {_TANH} j", "Tanh j k", f"Add k {_ONE} l")
#: What tools write for an activation, from b to f; its name, and whether it has integer kernels.
SPELLED = {
    "SiLU": (chain("Sigmoid b p", "Mul b p f"), "Swish", True),
    "SiLU, gate first": (chain("Sigmoid b p", "Mul p b f"), "Swish", True),
    "quick GELU": (chain(f"Mul b {_QUICK} p", "Sigmoid p q", "Mul b q f"), "Swish", False),
    "GELU by erf, halved first": (chain(f"Mul b {_HALF} s", *_ERF, "Mul s k f"), "Gelu", False),
    "GELU by erf, halved inside": (chain(*_ERF, f"Mul k {_HALF} s", "Mul b s f"), "Gelu", False),
    "GELU by erf, halved last": (chain(*_ERF, "Mul b k s", f"Mul s {_HALF} f"), "Gelu", False),
    "GELU by tanh, a power": (
        chain(f"Pow b {_THREE} g", *_TANHS, f"Mul b {_HALF} s", "Mul s l f"), "Gelu", False,
    ),
    "GELU by tanh, products": (
        chain("Mul b b m", "Mul b m g", *_TANHS, "Mul b l s", f"Mul s {_HALF} f"), "Gelu", False,
    ),
    "Mish": (chain("Softplus b p", "Tanh p q", "Mul b q f"), "Mish", False),
    "Mish, spelled to the end": (
        chain("Exp b p", f"Add p {_ONE} q", "Log q k", "Tanh k s", "Mul b s f"), "Mish", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", SPELLED)
def test_no_pair_stands_inside_of_an_activation_that_is_spelled_out(name, scheme):
    nodes, activation, integer = SPELLED[name]
    begun, constants = stem()
    model = model_of((begun[:-1], constants), (nodes, NUMBERS), convolution("f", "c3", "e"), head("e"))
    prepared = prepare(model)
    assert decibels(run(model, images()), run(prepared, images())) > 90
    placement = place(Graph(prepared), scheme)
    # A factor behind the product goes into the convolution that follows.
    result = next(item.input[0] for item in prepared.graph.node if item.name == "c3")
    expected = {"x", "r", result, "e", "pooled", "flat"} | ({"b"} if scheme is CPU else set())
    if scheme is CPU and integer:
        expected |= {"p"}
    assert set(placement.tensors) <= expected
    assert result in placement.tensors
    assert set(placement.float_nodes.values()) == (
        set() if scheme is not CPU or integer else {f"no int8 form: {activation}"}
    )


CLIPS = {
    "Relu": chain("Max b zero f"),
    "Relu, number first": chain("Max zero b f"),
    "Relu6": chain("Relu b p", "Min p six f"),
    "Relu6, both spelled": chain("Max zero b p", "Min six p f"),
    "Relu6, the other way round": chain("Min b six p", "Max p zero f"),
    "clipped below": chain("Max b half f"),
}


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", CLIPS)
def test_the_larger_and_the_lesser_of_a_number_are_clips(name, scheme):
    begun, constants = stem()
    model = model_of((begun[:-1], constants), (CLIPS[name], BOUNDS), convolution("f", "c3", "e"), head("e"))
    prepared = prepare(model)
    assert decibels(run(model, images()), run(prepared, images())) > 90
    placement = place(Graph(prepared), scheme)
    assert not placement.float_nodes
    assert set(placement.tensors) - {"p"} == {"x", "r", "f", "e", "pooled", "flat"}
    assert "p" not in placement.tensors or name == "Relu6, the other way round"


@pytest.mark.parametrize("name", HARD_SWISH)
def test_a_hard_swish_is_one_gated_activation(name, tmp_path):
    nodes, constants = stem()
    model = model_of(
        (nodes[:-1], constants), (HARD_SWISH[name], BOUNDS), convolution("f", "c3", "e"), head("e")
    )
    prepared = prepare(model)
    assert decibels(run(model, images()), run(prepared, images())) > 90
    assert not place(Graph(prepared), PORTABLE).float_nodes
    assert set(place(Graph(prepared), CPU).float_nodes.values()) == {"no int8 form: HardSwish"}
    if name == "divided after":
        assert written(model, tmp_path).parity.sqnr_db > 25


def test_an_activation_is_named_only_if_it_is_one():
    """A clip at 6 of a sum that nothing divides by 6 is a ReLU6, and one of another scale is none either."""
    nodes, constants = stem()
    for tail in ([node("Div", ["q", "three"], ["f"])], [node("Identity", ["q"], ["f"])]):
        model = model_of((nodes[:-1], constants), ([*_GATE, *tail], BOUNDS), head())
        prepared = prepare(model)
        assert "HardSigmoid" not in {item.op_type for item in prepared.graph.node}
        assert decibels(run(model, images()), run(prepared, images())) > 90
    scaled = [node("Mul", ["b", "sixth"], ["s"]), node("Add", ["s", "half"], ["p"])]
    for scale, parts in (("six", _GATE), ("one", [*scaled, node("Clip", ["p", "zero", "one"], ["q"])])):
        tail = [node("Div", ["q", scale], ["f"])]
        model = model_of((nodes[:-1], constants), ([*parts, *tail], BOUNDS), head())
        prepared = prepare(model)
        assert "HardSigmoid" in {item.op_type for item in prepared.graph.node}
        assert decibels(run(model, images()), run(prepared, images())) > 90


_ERF = [node("Div", ["b", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["g"])]
GELU = {
    "scaled at last": [*_ERF, node("Mul", ["b", "g"], ["m"]), node("Mul", ["m", "half"], ["f"])],
    "scaled inside": [*_ERF, node("Mul", ["g", "half"], ["m"]), node("Mul", ["b", "m"], ["f"])],
    "scaled first": [*_ERF, node("Mul", ["half", "b"], ["m"]), node("Mul", ["m", "g"], ["f"])],
}


@pytest.mark.parametrize("name", GELU)
def test_a_gelu_is_one_gated_activation(name):
    nodes, constants = stem()
    more = [*BOUNDS, constant("root", 2**0.5)]
    prepared = prepare(
        model_of((nodes[:-1], constants), (GELU[name], more), convolution("f", "c3", "h"), head("h"))
    )
    found = place(Graph(prepared), CPU)
    gate = {rule for rule in found.float_nodes.values() if rule != "it multiplies by a constant"}
    assert gate == {"no int8 form: Gelu"}
    assert not {*"bdeg"}.intersection(place(Graph(prepared), PORTABLE).tensors)
