"""The teacher: a checkpoint, a network with published weights, or any ONNX classifier."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn import files
from edgecnn.artifact import Manifest, read_manifest
from edgecnn.compress import class_scores
from edgecnn.compress.distill import feature_points as points
from edgecnn.data.calibration_images import ImageSource
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.quantize import assumed_preprocessing
from edgecnn.quantize.graph.readouts import readouts
from edgecnn.runtime.ort_engine import open_session
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.spec import NetworkSpec

Labels = str | tuple[str, ...] | None


class Teacher(Protocol):
    """A network that answers, and is not trained."""

    #: What its file says of itself.
    manifest: Manifest | None
    preprocessing: Preprocessing
    labels: Labels
    classes: int
    #: What the lineage records.
    identity: str
    #: Where its features can be read.
    points: points.Points

    def __call__(self, images: Tensor, features: Sequence[str] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return logits, (N, classes), and the named features for inputs made by its preprocessing."""
        ...


#: The options that say how an ONNX teacher's images are prepared.
MEAN_AND_STD = ("--teacher-mean", "--teacher-std")


def open_teacher(
    name: str,
    weights: str = "imagenet",
    preprocessing: Preprocessing | None = None,
    code: str | None = None,
) -> Teacher:
    """Open a teacher: FILE.safetensors, FILE.onnx, or an architecture with `weights`.

    `preprocessing` stands in for the manifest that a foreign ONNX file lacks, `code` names that of a
    checkpoint of the user's own network. Raises ArtifactError, UnknownNameError, WeightsError or
    InvalidValueError.
    """
    if name.endswith(".onnx"):
        return OnnxTeacher(Path(name), preprocessing)
    is_file = name.endswith(".safetensors")
    spec = NetworkSpec(name, code=code) if is_file else NetworkSpec(name, weights=weights)
    return TorchTeacher(spec)


class TorchTeacher:
    """A PyTorch network."""

    def __init__(self, spec: NetworkSpec) -> None:
        if spec.origin == "random":
            raise InvalidValueError(
                f"{spec.name} has random weights: it knows nothing to teach", hint="train it first"
            )
        if not spec.gives_scores:
            raise InvalidValueError(
                f"{spec.name} gives no scores of classes that a student could learn", hint="another teacher"
            )
        self._network = open_network(spec).network.eval().requires_grad_(False)
        self.manifest = spec.manifest
        self.preprocessing, self.labels, self.classes = spec.preprocessing, spec.labels, spec.classes
        self.identity = spec.sha256 or f"{spec.name}, {spec.weights}"
        self.points = points.of_module(self._network, self.preprocessing.channels, spec.size)

    @torch.no_grad()
    def __call__(self, images: Tensor, features: Sequence[str] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return logits and features."""
        outputs, found = with_features(self._network.to(images.device), images, features)
        return class_scores.scores(outputs), found


class OnnxTeacher:
    """An ONNX file in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, preprocessing: Preprocessing | None = None) -> None:
        self.manifest = manifest = read_manifest(path)
        model = onnx.load(path)
        if manifest and manifest.preprocessing:
            _fix_size(model, Preprocessing.from_json(manifest.preprocessing).size)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        image = inferred.graph.input[0].type.tensor_type
        shape = _shape(inferred.graph.input[0]) or ()
        _, channels, height, width = shape if len(shape) == 4 else (0, 0, 0, 0)
        if image.elem_type != onnx.TensorProto.FLOAT or not height or not width or not channels:
            raise InvalidValueError(
                f"{path} cannot teach: its input must be float32, (N, C, H, W), of a known size",
                hint="export it without --input uint8; edgecnn describe FILE --size says a free size",
            )
        self.preprocessing = _preprocessing(path, manifest, preprocessing, shape).at((height, width))
        self.labels = manifest.labels if manifest else None
        self.identity = files.sha256(path)
        # Probabilities would be too sure of themselves: what enters a final softmax is wanted.
        self._output = readouts(model)[0].tensor
        shapes = [(value.name, _shape(value)) for value in inferred.graph.value_info]
        order = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
        shapes.sort(key=lambda item: order.get(item[0], -1))
        self.points = points.last_of_each_stride(
            ((name, shape or ()) for name, shape in shapes), self.preprocessing.size
        )
        if preprocessing is None and not (manifest and manifest.preprocessing):
            images = ImageSource.open(self.preprocessing)
            assumed_preprocessing.check(model, model, images, str(path), MEAN_AND_STD)
        present = {value.name for value in model.graph.output}
        for name in (self._output, *(name for name, _ in self.points.values())):
            if name not in present:
                model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        self._session = open_session(model.SerializeToString())
        self._batch = self._session.get_inputs()[0].shape[0]
        probe = np.zeros((1, channels, height, width), np.float32)
        self.classes = self(torch.from_numpy(probe))[0].shape[1]

    def __call__(self, images: Tensor, features: Sequence[str] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return logits and features."""
        size = self._batch if isinstance(self._batch, int) else len(images)
        given = images.detach().cpu().contiguous().numpy()
        given = np.concatenate([given, np.repeat(given[-1:], -len(given) % size, axis=0)])
        name = self._session.get_inputs()[0].name
        parts = [
            self._session.run([self._output, *features], {name: given[start : start + size]})
            for start in range(0, len(given), size)
        ]
        logits, *rest = (
            torch.from_numpy(np.concatenate(column)[: len(images)]).to(images.device)
            for column in zip(*parts, strict=True)
        )
        return logits.reshape(len(images), -1), rest


def _preprocessing(
    path: Path, manifest: Manifest | None, said: Preprocessing | None, shape: Sequence[int]
) -> Preprocessing:
    """Return how a file's images are prepared: as was said, as it says, or else as ImageNet's are."""
    if said is None and manifest and manifest.preprocessing:
        known = Preprocessing.from_json(manifest.preprocessing)
        known.demand_input(shape, "NCHW", path.name)
        return known
    if said is not None and said.channels != shape[1]:
        raise InvalidValueError(
            f"{path} takes {shape[1]} channels, the mean and deviation {said.channels}",
            hint=f"give {' and '.join(MEAN_AND_STD)} one number per channel",
        )
    return (said or Preprocessing()).with_channels(shape[1])


def with_features(network: nn.Module, images: Tensor, features: Sequence[str]) -> tuple[Any, list[Tensor]]:
    """Return what a network answers, and what its modules of these names gave."""
    kept: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            kept[name] = out

        return hook

    with ExitStack() as hooks:
        for name in features:
            hook = network.get_submodule(name).register_forward_hook(keep(name))
            hooks.callback(hook.remove)
        outputs = network(images)
    return outputs, [kept[name] for name in features]


class Translation:
    """From the student's inputs to the teacher's: other normalization, unit, order of channels and size.

    What the student's preparation cut off, or put around a picture, the teacher sees so too.
    """

    def __init__(self, student: Preprocessing, teacher: Preprocessing) -> None:
        self._same = student == teacher
        self._size, self._channels = teacher.size, teacher.channels
        self._units = student.pixels, teacher.pixels
        self._turned = student.color == "bgr", teacher.color == "bgr"
        self._affine = [
            torch.tensor(values)[:, None, None]
            for values in (student.std, student.mean, teacher.std, teacher.mean)
        ]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the inputs of the teacher, (N, C', H', W'), for those of the student, (N, C, H, W)."""
        if self._same:
            return images
        student_std, student_mean, std, mean = (values.to(images.device) for values in self._affine)
        pixels = (images * student_std + student_mean) / self._units[0]
        if self._turned[0]:
            pixels = pixels.flip(1)
        if pixels.shape[1] != self._channels:
            grey = pixels.mean(1, keepdim=True)
            pixels = grey.expand(-1, self._channels, -1, -1)
        if pixels.shape[2:] != self._size:
            pixels = F.interpolate(pixels, self._size, mode="bilinear", antialias=True)
        if self._turned[1]:
            pixels = pixels.flip(1)
        return (pixels * self._units[1] - mean) / std


def check_classes(teacher: Teacher, labels: Labels, classes: int) -> None:
    """Raise DataError unless the teacher's classes are those of the data."""
    if teacher.classes != classes:
        raise DataError(
            f"the teacher knows {teacher.classes} classes, the data has {classes}",
            hint="train the teacher on the same data first",
        )
    if teacher.labels is not None and labels is not None and teacher.labels != labels:
        raise DataError(
            "the teacher's classes are called otherwise, or are in another order, than the data's",
            hint="train the teacher on the same data first",
        )


def _fix_size(model: onnx.ModelProto, size: Size) -> None:
    """Give a free height and width of the images, (N, C, H, W), the numbers that the manifest says."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, side in zip(dims[2:], size if len(dims) == 4 else (), strict=False):
        if not dim.dim_value:
            dim.dim_value = side


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    shape = value.type.tensor_type.shape
    return tuple(dimension.dim_value for dimension in shape.dim) if shape.dim else None
