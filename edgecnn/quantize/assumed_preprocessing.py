"""A file that does not say how its images are prepared: is what is assumed possible?

Measured on networks of known preparation, with ImageNet's assumed, on eight built-in images: the
median deviation of the first layer's channels, and how much the output varies over images (`parity.spread`)
with it and with pixels of 0..255.

    network                                takes     first layer   output   with 0..255
    EfficientNet-Lite0, ImageNet weights   ImageNet  2.72          0.88     0.69
      the same, preparation folded in      0..1      12.0          0.84     0.68
      the same                             -1..1     6.00          0.87     0.68
      the same                             0..255    0.047         0.118    0.88
    LeNet-5 trained on digits              its own   0.56          0.91     0.09
      the same, preparation folded in      ImageNet  0.41          0.73     0.08
      the same                             0..255    0.007         0.035    0.73
    MobileNet, settled random weights      ImageNet  1.95          0.79     0.50
      the same, preparation folded in      0..255    0.034         0.029    0.79
    ResNet-18, settled random weights      ImageNet  0.94          0.91     0.21
      the same, preparation folded in      0..255    0.016         0.016    0.91

So pixels of 0..255 are told from all others. What is four times as large or small as it should be is not: the
first layer is as lively as another network's then, and the entropy of the classes misleads (0.34 for -1..1 on
the network that takes ImageNet's, with which it has 0.37). It only has to agree.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from onnx import helper

from edgecnn.data.calibration_images import ImageSource
from edgecnn.errors import InvalidValueError
from edgecnn.parity import CLASS_SCORES, Output, spread
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.readouts import Readout
from edgecnn.quantize.reference import Network
from edgecnn.runtime.engine import softmax
from edgecnn.runtime.preprocessing import Preprocessing

NOTE = (
    "the file does not say how its images are prepared: ImageNet's mean and deviation were used"
    " (--mean and --std say otherwise)"
)
#: The first layer's channels vary less than this with what is assumed, ...
_QUIET = 0.25
#: ... and the output varies so many times as much over the images with the other, and by this share at least.
_LIVELIER, _LIVELY = 4.0, 0.05
#: The classes are not less sure by more than this share of the largest entropy.
_SURER = 0.05
_IMAGES = 8
#: At the edge of a map, where it is padded, even a constant input varies.
_EDGE = 2


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a network makes of images that are prepared in one way."""

    first_layer: float
    spread: float
    #: Of the classes' probabilities, as a share of the largest; None without class scores.
    entropy: float | None


def check(model: onnx.ModelProto, images: ImageSource, name: str) -> None:
    """Raise InvalidValueError if a prepared float model can hardly take what is assumed, but does 0..255."""
    preprocessing = images.preprocessing
    channels = preprocessing.channels
    pixels = dataclasses.replace(preprocessing, mean=(0.0,) * channels, std=(1 / 255,) * channels)
    frames = dataclasses.replace(images, checks=_IMAGES).check_frames()[:_IMAGES]
    first = _first_layer(model)
    if first is None:
        return
    assumed, other = (_look(model, first, item, frames) for item in (preprocessing, pixels))
    unlikely = assumed.first_layer < _QUIET and other.spread > max(_LIVELY, _LIVELIER * assumed.spread)
    if assumed.entropy is not None and other.entropy is not None:
        unlikely = unlikely and other.entropy < assumed.entropy + _SURER
    if unlikely:
        std = ",".join([f"{1 / 255:.9f}"] * channels)
        raise InvalidValueError(
            f"{name} does not say how its images are prepared, and seems to take pixels of 0..255: its output"
            f" varies by {assumed.spread:.1%} over images with ImageNet's mean and deviation, by"
            f" {other.spread:.1%} with these",
            hint=f"--mean {','.join(['0'] * channels)} --std {std}, or --yes to go on with ImageNet's",
        )


def _first_layer(model: onnx.ModelProto) -> str | None:
    """Return the output of the first layer with weights."""
    weighted = ("Conv", "Gemm", "MatMul")
    return next((node.output[0] for node in Graph(model).nodes if node.op_type in weighted), None)


def _look(model: onnx.ModelProto, first: str, preprocessing: Preprocessing, frames: np.ndarray) -> _Seen:
    inputs = preprocessing.normalize(frames)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if first not in Graph(model).outputs:
        probe.graph.output.append(helper.make_empty_tensor_value_info(first))
    outputs = Network(model)(inputs)
    (layer,) = Network.rewritten(probe, [Readout(first, first)])(inputs) or [Output(first, np.zeros((1, 1)))]
    if layer.values.ndim == 4 and min(layer.values.shape[2:]) > 2 * _EDGE:
        layer = dataclasses.replace(layer, values=layer.values[..., _EDGE:-_EDGE, _EDGE:-_EDGE])
    by_channel = np.moveaxis(layer.values, 1, 0) if layer.values.ndim > 1 else layer.values[None]
    deviation = by_channel.reshape(len(by_channel), -1).std(axis=1, dtype=np.float64)
    return _Seen(
        float(np.median(deviation)),
        max((spread(item.values) for item in outputs), default=0.0),
        next((_entropy(item) for item in outputs if item.kind == CLASS_SCORES), None),
    )


def _entropy(output: Output) -> float:
    probabilities = softmax(output.values.reshape(len(output.values), -1))
    terms = probabilities * np.log(np.maximum(probabilities, 1e-30))
    return float(-terms.sum(axis=1).mean() / np.log(probabilities.shape[1]))
