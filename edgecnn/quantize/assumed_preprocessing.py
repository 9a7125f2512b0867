"""A file that does not say how its images are prepared: is what is assumed possible?

Measured on networks of known preparation, with ImageNet's assumed, on eight built-in images: the
median deviation of the first layer's channels, and how much the output varies over images (`parity.spread`)
with it and with pixels of 0..255.

    network                                takes     first layer   output   with 0..255
    EfficientNet-Lite0, ImageNet weights   -1..1     2.71          0.88     0.69
      the same, preparation folded in      ImageNet  1.22          0.89     0.69
      the same                             0..1      5.41          0.86     0.68
      the same                             0..255    0.021         0.41     0.89
    LeNet-5 trained on digits              its own   0.56          0.91     0.09
      the same, preparation folded in      ImageNet  0.41          0.73     0.08
      the same                             0..255    0.007         0.035    0.73
    MobileNet, settled random weights      ImageNet  1.95          0.79     0.50
      the same, preparation folded in      0..255    0.034         0.029    0.79
    ResNet-18, settled random weights      ImageNet  0.94          0.91     0.21
      the same, preparation folded in      0..255    0.016         0.016    0.91

So pixels of 0..255 are told from all others: by a quiet first layer, and an output that varies more with them
or classes that are surer (an entropy of 0.34 in place of 0.81 on EfficientNet-Lite0). What is four times as
large or small as it should be is not: the first layer is as lively as another network's then, and the entropy
is nearly the same (0.34 with its own, 0.37 to 0.46 with ImageNet's in place of -1..1 or 0..1).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from edgecnn.data.calibration_images import ImageSource
from edgecnn.errors import EdgecnnError, EngineError, InvalidValueError
from edgecnn.parity import Output, spread
from edgecnn.quantize import first_norm
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.load_model import load
from edgecnn.quantize.graph.own_preparation import OwnPreparation, own_preparation
from edgecnn.quantize.graph.readouts import Readout
from edgecnn.quantize.reference import Network
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks import task_of_values
from edgecnn.tasks.classification import softmax

#: The options that say how the images of a quantized file are prepared.
MEAN_AND_STD = ("--mean", "--std")
#: The first layer's channels vary less than this with what is assumed, ...
_QUIET = 0.25
#: ... and the output varies so many times as much over the images with the other, and by this share at least.
_LIVELIER, _LIVELY = 4.0, 0.05
#: The classes are surer by this share of the largest entropy, or at least not less sure by that.
_SURER, _UNSURE = 0.2, 0.05
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


def note(options: tuple[str, str] = MEAN_AND_STD) -> str:
    """Return what is said before the work; the two `options` say otherwise."""
    return (
        "the file does not say how its images are prepared: ImageNet's mean and deviation were used"
        f" ({' and '.join(options)} say otherwise; that it takes 0..255 would be noticed, 0..1 if it has its"
        " batch normalizations yet, -1..1 (--prepare half) and BGR (--color bgr) would not)"
    )


def note_of_graph(own: OwnPreparation) -> str:
    """Return what is said before the work of a graph that normalizes its images itself."""
    return (
        f"the graph itself {own}: its images are prepared with pixels {own.pixels}, and no mean and deviation"
    )


def note_of(path: str | Path, options: tuple[str, str] = MEAN_AND_STD) -> str:
    """Return what is said before the work of a file that does not say how its images are prepared."""
    with contextlib.suppress(EdgecnnError):  # which is told where it is opened
        own = own_preparation(load(Path(path)).model)
        if own is not None and own.preprocessing is not None and options == MEAN_AND_STD:
            return note_of_graph(own)
    return note(options)


def check(
    model: onnx.ModelProto,
    original: onnx.ModelProto,
    images: ImageSource,
    name: str,
    options: tuple[str, str] = MEAN_AND_STD,
) -> None:
    """Raise InvalidValueError if a float model can hardly take what is assumed.

    That is, if its first batch normalization speaks against it (`first_norm`), or what it makes of 0..255.
    `model` is the prepared form of `original`; the two `options` are those that say how images are prepared.
    """
    preprocessing = images.preprocessing
    channels = preprocessing.channels
    pixels = dataclasses.replace(preprocessing, mean=(0.0,) * channels, std=(1 / 255,) * channels)
    frames = dataclasses.replace(images, checks=_IMAGES).check_frames()[:_IMAGES]
    try:
        found = first_norm.misfit(original, preprocessing, frames)
    except EngineError:
        found = None  # it does not run as it is, which the comparison with it says
    if found is not None:
        raise InvalidValueError(
            f"{name} does not say how its images are prepared, and its first batch normalization recorded"
            f" others in training: ImageNet's mean and deviation are {found.assumed:.1f} away from these,"
            f" {found.other} is {found.distance:.1f} (below 1 is usual)",
            hint=_hint(found.mean, found.std, options),
        )
    first = _first_layer(model)
    if first is None:
        return
    assumed, other = (_look(model, first, item, frames) for item in (preprocessing, pixels))
    if _cannot_be(assumed, other):
        raise InvalidValueError(
            f"{name} does not say how its images are prepared, and seems to take pixels of 0..255: its output"
            f" varies by {assumed.spread:.1%} over images with ImageNet's mean and deviation, by"
            f" {other.spread:.1%} with these",
            hint=_hint(pixels.mean, pixels.std, options),
        )


def _cannot_be(assumed: _Seen, other: _Seen) -> bool:
    """Return whether a network takes the other preparation, by what it makes of both."""
    livelier = other.spread > max(_LIVELY, _LIVELIER * assumed.spread)
    if assumed.entropy is not None and other.entropy is not None:
        surer = assumed.entropy - other.entropy
        livelier = (livelier and surer > -_UNSURE) or surer > _SURER
    return assumed.first_layer < _QUIET and livelier


def _hint(mean: Sequence[float], std: Sequence[float], options: tuple[str, str]) -> str:
    """Return the options that say a mean and a deviation, in units of full scale."""
    pixels, unit = "", 1
    if options == MEAN_AND_STD and (set(std) == {1 / 255} or (set(std) == {1.0} and not any(mean))):
        unit = round(1 / std[0])
        pixels = f"--pixels {unit}"
    means, deviations = (",".join(f"{unit * value:.7g}" for value in values) for values in (mean, std))
    said = f"{options[0]} {means} {options[1]} {deviations}"
    if pixels:
        said = f"{pixels} {options[0]} {means}" if any(mean) else pixels
    otherwise = "--yes to go on" if options == MEAN_AND_STD else "give them as they are to go on"
    return f"{said}, or {otherwise} with ImageNet's"


def _first_layer(model: onnx.ModelProto) -> str | None:
    """Return the output of the first layer with weights."""
    weighted = ("Conv", "Gemm", "MatMul")
    return next((node.output[0] for node in Graph(model).nodes if node.op_type in weighted), None)


def _look(model: onnx.ModelProto, first: str, preprocessing: Preprocessing, frames: np.ndarray) -> _Seen:
    inputs = prepare.normalize(preprocessing, frames)
    probe = copy_of(model)
    if first not in Graph(model).outputs:
        probe.graph.output.append(helper.make_empty_tensor_value_info(first))
    outputs = Network(model)(inputs)
    scores = task_of_values(outputs).class_scores(outputs)
    (layer,) = Network.rewritten(probe, [Readout(first, first)])(inputs) or [Output(first, np.zeros((1, 1)))]
    if layer.values.ndim == 4 and min(layer.values.shape[2:]) > 2 * _EDGE:
        layer = dataclasses.replace(layer, values=layer.values[..., _EDGE:-_EDGE, _EDGE:-_EDGE])
    by_channel = np.moveaxis(layer.values, 1, 0) if layer.values.ndim > 1 else layer.values[None]
    deviation = by_channel.reshape(len(by_channel), -1).std(axis=1, dtype=np.float64)
    return _Seen(
        float(np.median(deviation)),
        max((spread(item.values) for item in outputs), default=0.0),
        None if scores is None else _entropy(scores),
    )


def _entropy(scores: np.ndarray) -> float:
    probabilities = softmax(scores)
    terms = probabilities * np.log(np.maximum(probabilities, 1e-30))
    return float(-terms.sum(axis=1).mean() / np.log(probabilities.shape[1]))
