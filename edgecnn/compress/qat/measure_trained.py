"""What int8 training brought: the float, the untrained and the trained network on test images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch

from edgecnn.compress.qat.by_float_network import by_name
from edgecnn.compress.qat.quantized_network import QuantizedModule
from edgecnn.data.loader import Loader
from edgecnn.parity import Output, Parity
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.quantizer import Quantized
from edgecnn.quantize.reference import Network
from edgecnn.runtime import prepare
from edgecnn.runtime.samples import of_images
from edgecnn.tasks.compare import compare_outputs, same_outputs

#: Test images on which maps are compared: those of all would not fit into memory.
_MAP_IMAGES = 64
_FLOAT, _UNTRAINED, _TRAINED, _SIMULATED = range(4)


def measure(
    model: onnx.ModelProto,
    untrained: Quantized,
    trained: Quantized,
    module: QuantizedModule,
    test: Loader,
    deciding: str | None,
    constants: Mapping[str, Sequence[float]],
) -> tuple[dict[str, Any], Parity]:
    """Return the figures of all four, and how near the trained file is to float.

    `deciding` is the output whose class scores the labels are for; of a network without one there is no
    accuracy, but how many decibels are kept. The fourth is the network in training.
    """
    specs = input_specs(model)
    networks = [Network(graph) for graph in (model, untrained.model, trained.model)]
    labels, seen = [], []
    for frames, classes in test.epoch(0):
        images = prepare.normalize(test.preprocessing, frames)
        outputs = [network(of_images(images, specs, constants)) for network in networks]
        seen.append([*outputs, _simulated(module, images, outputs[_FLOAT])])
        labels.append(classes)
        if sum(map(len, labels)) >= _MAP_IMAGES and any(item.values.ndim > 2 for item in outputs[_FLOAT]):
            break
    found = [_joined(parts) for parts in zip(*seen, strict=True)]
    wanted = np.concatenate(labels)
    parity = compare_outputs(found[_FLOAT], found[_TRAINED], "the int8 model")
    metrics: dict[str, Any] = {}
    if deciding is not None:
        row = next(row for row, item in enumerate(found[_FLOAT]) if deciding in ("", item.name))
        answers = [outputs[row].values.reshape(len(wanted), -1).argmax(1) for outputs in found]
        for name, which in (("float_top1", _FLOAT), ("untrained_top1", _UNTRAINED), ("top1", _TRAINED)):
            metrics[name] = float(np.mean(answers[which] == wanted))
        metrics["simulation_agreement"] = float(np.mean(answers[_SIMULATED] == answers[_TRAINED]))
    if deciding != "":
        metrics["untrained_sqnr_db"] = _decibels(found[_FLOAT], found[_UNTRAINED])
        metrics["simulation_sqnr_db"] = _decibels(found[_TRAINED], found[_SIMULATED])
    return {**metrics, "n": len(wanted)}, parity


def _simulated(module: QuantizedModule, images: np.ndarray[Any, Any], like: Sequence[Output]) -> list[Output]:
    """Return what the network in training gives, as its file gives it."""
    with torch.inference_mode():
        given = by_name(module(torch.from_numpy(images)))
    outputs = [Output(name, values.numpy()) for name, values in given.items()]
    return [
        Output(wanted.name, item.values.reshape(wanted.values.shape), wanted.threshold)
        for wanted, item in zip(like, same_outputs(like, outputs, "the network in training"), strict=True)
    ]


def _joined(parts: Sequence[Sequence[Output]]) -> list[Output]:
    """Return the outputs for all images, from those for each batch."""
    return [
        Output(items[0].name, np.concatenate([item.values for item in items]), items[0].threshold)
        for items in zip(*parts, strict=True)
    ]


def _decibels(reference: Sequence[Output], outputs: Sequence[Output]) -> float | None:
    """Return the decibels of the worst output; None where nothing differs."""
    found = compare_outputs(reference, outputs, "the int8 model", constant=True).sqnr_db
    return None if math.isinf(found) else found
