"""What the first batch normalization of a file recorded in training: how its images were prepared.

Its running mean and variance are those of its input with the preparation that it was trained with. How far
what it gets with another is from that is the divergence of the one normal distribution from the other
(Kullback and Leibler 1951), the median over its channels. Measured with eight built-in images or drawings on
white, on EfficientNet-Lite0, 1 and 2 with ImageNet weights and a MobileNet that trained for four epochs, with
another preparation folded in:

    takes                        ImageNet's        its own
    ImageNet's                   0.05 to 0.86      the same
    -1..1                        0.55 to 9.4       0.05 to 0.86
    0..1                         4.6 to 31         0.05 to 0.86
    0..255                       3.2 to 3.7        0.05 to 0.86
    0..255 less ImageNet's mean  3.0 to 3.6        0.05 to 0.86

So all but -1..1, whose values are only 2.2 times smaller, are told from ImageNet's. The order of the channels
is not: they are too much alike. A file whose batch normalizations are folded into its convolutions says
nothing, nor does one that never trained.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.reference import Network, Readout, as_given
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import IMAGENET_MEAN, Preprocessing

#: How images are prepared where it is not as ImageNet's usually are: mean and deviation, for each channel.
OTHERS = {
    "0..1": ((0.0,) * 3, (1.0,) * 3),
    "-1..1": ((0.5,) * 3, (0.5,) * 3),
    "0..255": ((0.0,) * 3, (1 / 255,) * 3),
    "0..255 less ImageNet's mean": (IMAGENET_MEAN, (1 / 255,) * 3),
}
#: What cannot be is farther than the one, what may be in its place is nearer than the other.
_FAR, _NEAR = 2.0, 1.0
#: Channels that hardly vary say nothing of a scale: those below this share of the median variance.
_CONSTANT = 1e-4

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Misfit:
    """A preparation that a file's first batch normalization speaks against."""

    #: How far it is, and what is nearest: its name, how far that is, and its mean and deviation.
    assumed: float
    other: str
    distance: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def misfit(
    original: onnx.ModelProto, preprocessing: Preprocessing, frames: npt.NDArray[np.uint8]
) -> Misfit | None:
    """Return what a file as it was given has against a preparation of three channels; None if nothing.

    `frames` are images, (N, H, W, 3) uint8. Raises EngineError if the file does not run.
    """
    found = _recorded(as_given(original))
    if found is None or preprocessing.channels != 3:
        return None
    model, tensor, mean, variance = found

    def distance(prepared: Preprocessing) -> float:
        (values,) = Network.rewritten(model, [Readout(tensor, tensor)])(prepare.normalize(prepared, frames))
        return _distance(values.values.astype(np.float64), mean, variance)

    assumed = distance(preprocessing)
    if not assumed > _FAR:
        return None
    others = {
        name: distance(dataclasses.replace(preprocessing, mean=means, std=stds))
        for name, (means, stds) in OTHERS.items()
    }
    nearest = min(others, key=lambda name: others[name])
    if not others[nearest] < _NEAR:
        return None
    return Misfit(assumed, nearest, others[nearest], *OTHERS[nearest])


def _recorded(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str, Array, Array] | None:
    """Return the part of a model before its first batch normalization, and that one's input, mean, variance.

    None if there is none, or if it recorded nothing yet.
    """
    graph = Graph(model)
    node = next((node for node in graph.nodes if node.op_type == "BatchNormalization"), None)
    if node is None or not all(graph.is_constant(name) for name in node.input[3:5]):
        return None
    mean, variance = (graph.constant(name).astype(np.float64) for name in node.input[3:5])
    if not mean.any() or not (variance > 0).any():
        return None
    return _before(model, graph, node.input[0]), node.input[0], mean, variance


def _before(model: onnx.ModelProto, graph: Graph, tensor: str) -> onnx.ModelProto:
    """Return the part of a model that makes a tensor, which may be the input itself."""
    needed, open_names = set(), [tensor]
    while open_names:
        maker = graph.producer(open_names.pop())
        if maker is not None and maker.output[0] not in needed:
            needed.add(maker.output[0])
            open_names += maker.input
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(node for node in model.graph.node if node.output and node.output[0] in needed)
    return part


def _distance(values: Array, mean: Array, variance: Array) -> float:
    """Return the median divergence of channels, (N, C, ...), from what was recorded of them, (C,) each."""
    channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    known = variance > _CONSTANT * np.median(variance)
    seen_mean, seen = channels.mean(axis=1)[known], np.maximum(channels.var(axis=1)[known], 1e-30)
    ratio = seen / variance[known]
    far = (seen_mean - mean[known]) ** 2 / variance[known]
    return float(np.median(0.5 * (ratio + far - 1 - np.log(ratio))))
