"""Sums and products by constants, which activations are written in, are trained around."""

import numpy as np
import pytest
import torch
from foreign_graphs import constant, convolution, decibels, head, images, model_of, node, run, stem

from edgecnn.compress.qat.quantized_network import QuantizedModule
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantizer import quantize
from edgecnn.targets import CPU

_SLOPE = constant("slope", np.linspace(-0.3, 0.9, 8, dtype=np.float32).reshape(8, 1, 1))


@pytest.mark.parametrize("op", ["HardSwish", "PRelu"])
def test_the_network_in_training_computes_what_the_file_does_and_gives_it_back(op):
    made = [node(op, ["b", "slope"] if op == "PRelu" else ["b"], ["f"], name="act")]
    begun, weights = stem()
    model = prepare(model_of((begun[:-1], weights), (made, [_SLOPE]), convolution("f", "c3", "e"), head("e")))
    quantized = quantize(model, [images(16)], CPU, "minmax")
    assert quantized.placement.constants
    network = QuantizedModule(quantized).eval()
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images())).numpy()
    assert decibels(run(quantized.model, images()), outputs) > 50
    again = network.to_quantized().model
    # A floor may move a scale by a thousandth.
    assert decibels(run(quantized.model, images()), run(again, images())) > 40
