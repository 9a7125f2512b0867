"""No pair stands inside of a normalization, or of moves, that a tool spelled out."""

import numpy as np
import pytest
from foreign_graphs import constant, convolution, decibels, drawn, head, images, model_of, node, run, stem

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.quantizer import quantize
from edgecnn.schemes import CPU, SCHEMES

each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
CONSTANTS = [
    constant("eps", 1e-5), constant("two", 2.0), drawn("gamma", 8, 1, 1), drawn("beta", 8, 1, 1),
    drawn("gammas", 8), drawn("betas", 8), constant("channels", [1], np.int64),
    constant("sides", [2, 3], np.int64), constant("last", [-1], np.int64),
    constant("grouped", [0, 4, -1], np.int64), constant("map", [0, 8, 16, 16], np.int64),
    constant("ones", np.ones(4)), constant("zeros", np.zeros(4)),
]  # fmt: skip


def chain(*steps):
    """Nodes from `op input... output` each."""
    return [node(words[0], words[1:-1], [words[-1]]) for words in (step.split() for step in steps)]


def by(axes, square, divide, source="b", gamma="gamma", beta="beta", result="f"):
    """Mean, difference, variance, root and quotient, then the factors."""
    return chain(
        f"ReduceMean {source} {axes} m", f"Sub {source} m d", square, f"ReduceMean s {axes} v", "Add v eps o",
        "Sqrt o q", *divide, f"Mul n {gamma} g", f"Add g {beta} {result}",
    )  # fmt: skip


POWER, PRODUCT = "Pow d two s", "Mul d d s"
QUOTIENT, FACTOR = ("Div d q n",), ("Reciprocal q i", "Mul d i n")
TURN = [node("Transpose", ["b"], ["t"], perm=[0, 2, 3, 1])]
BACK = [node("Transpose", ["u"], ["f"], perm=[0, 3, 1, 2])]
SPELLED = {
    "LayerNorm of channels": by("channels", POWER, QUOTIENT),
    "LayerNorm of channels, products": by("channels", PRODUCT, FACTOR),
    "LayerNorm of the last axis": [
        *TURN, *by("last", POWER, QUOTIENT, "t", "gammas", "betas", "u"), *BACK,
    ],
    "InstanceNorm": by("sides", PRODUCT, QUOTIENT),
    "InstanceNorm, products": by("sides", PRODUCT, FACTOR),
    "InstanceNorm, factor and offset": chain(
        "ReduceMean b sides m", "Sub b m d", PRODUCT, "ReduceMean s sides v", "Add v eps o", "Sqrt o q",
        "Reciprocal q i", "Mul i gamma k", "Mul b k l", "Mul m k j", "Sub beta j h", "Add l h f",
    ),
    "GroupNorm": chain(
        "Reshape b grouped p", "InstanceNormalization p ones zeros i", "Reshape i map q", "Mul q gamma g",
        "Add g beta f",
    ),
}  # fmt: skip


@each_scheme
@pytest.mark.parametrize("name", SPELLED)
def test_a_normalization_is_float_inside(name, scheme):
    begun, constants = stem()
    model = model_of(
        (begun[:-1], constants), (SPELLED[name], CONSTANTS), convolution("f", "c3", "e"), head("e"), opset=18
    )
    prepared = prepare(model)
    assert decibels(run(model, images()), run(prepared, images())) > 90
    tensors = set(place(Graph(prepared), scheme).tensors)
    assert tensors - {"t", "u"} == {"x", "r", "f", "e", "pooled", "flat"} | (
        {"b"} if scheme is CPU else set()
    )
    made = quantize(prepared, [images(8)], scheme, "minmax").model
    assert decibels(run(model, images()), run(made, images())) > 25


def focus():
    """Four images of half the size, one pixel in two, as one of twelve channels."""
    numbers = [
        constant(f"{name}{value}", [value], np.int64)
        for name, value in (("s", 0), ("s", 1), ("e", 9999), ("a", 2), ("a", 3), ("by", 2))
    ]
    nodes = []
    for index, (row, column) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        nodes += chain(
            f"Slice x s{row} e9999 a2 by2 h{index}", f"Slice h{index} s{column} e9999 a3 by2 p{index}"
        )
    return [*nodes, node("Concat", ["p0", "p1", "p2", "p3"], ["z"], axis=1)], numbers


def shuffle():
    """Four channels for each pixel become four pixels."""
    shapes = [constant("apart", [0, 2, 2, 2, 16, 16], np.int64), constant("wide", [0, 2, 32, 32], np.int64)]
    nodes = [
        node("Reshape", ["b", "apart"], ["i"]), node("Transpose", ["i"], ["j"], perm=[0, 1, 4, 2, 5, 3]),
        node("Reshape", ["j", "wide"], ["f"]),
    ]  # fmt: skip
    return nodes, shapes


@each_scheme
def test_focus_slices_have_the_scale_of_the_image(scheme):
    first, second = convolution("z", "c1", "a", 12), convolution("r", "c2", "b")
    relu = [node("Relu", ["a"], ["r"], name="r1")], []
    model = model_of(focus(), first, relu, second, head("b"))
    placement = place(Graph(prepare(model)), scheme)
    assert {placement.shares.get(name) for name in placement.tensors[1:6]} == {"x"}  # four slices and z
    assert not placement.float_nodes
    made = quantize(prepare(model), [images(8)], scheme, "minmax").model
    assert decibels(run(model, images()), run(made, images())) > 25


@each_scheme
def test_shuffled_pixels_have_the_scale_of_the_channels(scheme):
    begun, constants = stem()
    model = model_of((begun[:-1], constants), shuffle(), convolution("f", "c3", "e", 2), head("e"))
    placement = place(Graph(prepare(model)), scheme)
    assert placement.shares["f"] == "b" and not placement.float_nodes
