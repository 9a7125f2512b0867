"""What only an activation reads has no codes for values that the activation makes zero."""

import numpy as np
import pytest
from small_graphs import model_of

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.quantizer import quantize
from edgecnn.runtime.ort_engine import open_session
from edgecnn.schemes import CPU, OPENVINO, PORTABLE

ACTIVATIONS = {
    "HardSwish": ("m = HardSwish(c)", -3.0),
    "spelled out": ("h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c) m = Mul(c, h)", -3.0),
    "Mish": ("h = Softplus(c) i = Tanh(h) m = Mul(c, i)", -8.0),
    "LeakyRelu": ("m = LeakyRelu(c)", None),
    "Sigmoid": ("m = Sigmoid(c)", None),
    "read twice": ("h = HardSwish(c) m = Add(c, h)", None),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_range_begins_where_the_activation_does(name):
    text, floor = ACTIVATIONS[name]
    graph = Graph(model_of(f"c = Conv(x, w) {text} y = Conv(m, w)"))
    placement = place(graph, CPU)
    found = dict.fromkeys(placement.observed, (-40.0, 50.0))
    assert placement.ranges(found)["c"] == (-40.0 if floor is None else floor, 50.0)
    narrow = dict.fromkeys(placement.observed, (-1.0, 2.0))
    assert placement.ranges(narrow)["c"] == (-1.0, 2.0)
    assert not place(graph, PORTABLE).floors and not place(graph, OPENVINO).floors


def test_it_is_worth_codes(rng):
    model = model_of("c = Conv(x, w) m = HardSwish(c) y = Conv(m, w)")
    images = 20 * rng.normal(size=(8, 4, 8, 8)).astype(np.float32)
    made = quantize(model, [images], CPU, "minmax")
    known, got = (
        open_session(item.SerializeToString()).run(None, {"x": images})[0] for item in (model, made.model)
    )
    scale = next(item for item in made.model.graph.initializer if item.name == "c_scale")
    low, high = made.ranges["c"]["cpu"]
    # Of c by the root of six, which the product of sums is made of (`graph.integer_activations`).
    floor = float(np.float32(3 / 6**0.5))
    assert low < -20 / 6**0.5
    assert np.frombuffer(scale.raw_data, np.float32)[0] == np.float32((high + floor) / 255)
    assert np.sum((known - got) ** 2) < 10**-3 * np.sum(known**2)
