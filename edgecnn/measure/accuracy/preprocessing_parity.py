"""Does the runtime see an image file as the PyTorch program did that trained the network?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.data.dataset import Images
from edgecnn.data.unreadable import Skipped, image_name
from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size
from edgecnn.measure.accuracy.infer_images import sweep
from edgecnn.optional_packages import require
from edgecnn.progress import Progress, silent
from edgecnn.runtime import prepare
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import ImageLike, open_unprepared
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import resample
from edgecnn.runtime.sample_axis import BATCH

#: What torchvision resizes: a Pillow image, or a tensor. The two do not give the same pixels.
KINDS = ("pil", "tensor")
#: What it knows of a preprocessing's fits and interpolations.
_FITS, _MODES = ("crop", "stretch"), ("bilinear", "bicubic", "nearest")
_PURPOSE = "comparing with PyTorch's preprocessing"


@dataclass(frozen=True)
class PreprocessingParity:
    """How far PyTorch's preprocessing and the runtime's are apart, over the images of a data set."""

    #: "pil" or "tensor".
    kind: str
    images: int
    #: Largest difference of a pixel before normalization, in levels of 255.
    max_pixel_diff: int
    #: Largest difference of the network's input, and of its logits.
    max_input_diff: float
    max_logit_diff: float
    #: Images whose most probable class differs, by name.
    changed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**vars(self), "changed": list(self.changed)}


@dataclass(frozen=True)
class _Seen:
    """One image: frames (H, W, C) uint8 and inputs (1, ...) of the runtime, then of each kind."""

    frames: list[npt.NDArray[np.uint8]]
    inputs: list[npt.NDArray[Any]]


def compare_preprocessing(
    engine: Engine,
    images: Images,
    *,
    batch: int = BATCH,
    workers: int | None = None,
    progress: Progress = silent,
) -> tuple[tuple[PreprocessingParity, ...], tuple[Skipped, ...]]:
    """Put each image through PyTorch's usual preprocessing and the runtime's, and compare what comes out.

    PyTorch's is torchvision's for evaluation: open and convert, resize the shorter side, crop the centre,
    scale to 0..1, normalize; once on Pillow images (`Resize` of what `ImageFolder` opens), once on tensors
    (`Resize` of a decoded tensor, `torch.nn.functional.interpolate` with antialiasing). Neither turns a
    photograph upright that says it was taken sideways, nor composes what is transparent; the runtime does
    both. Returns one result per kind, and
    the images that could not be read. Raises DataError like `sweep`, InvalidValueError for a network that
    takes neither grey nor RGB images, MissingPackageError without torch.
    """
    require("torch", _PURPOSE)
    preprocessing = engine.preprocessing
    if preprocessing.fit not in _FITS or preprocessing.interpolation not in _MODES:
        raise InvalidValueError(
            f"PyTorch has no usual preprocessing with fit {preprocessing.fit} and interpolation"
            f" {preprocessing.interpolation}",
            hint=f"what is compared: {', '.join(_FITS)}; {', '.join(_MODES)}",
        )
    if preprocessing.channels not in (1, 3):
        raise InvalidValueError(
            f"PyTorch has no usual preprocessing for {preprocessing.channels} channels",
            hint="grey and RGB networks can be compared",
        )

    def read(image: ImageLike) -> _Seen:
        frames = [
            prepare.frame(preprocessing, image),
            *(_torch_frame(image, preprocessing, kind) for kind in KINDS),
        ]
        if engine.input.layout == "NHWC":
            return _Seen(frames, [frame[None] for frame in frames])
        inputs = [engine.prepare_frames(frames[0][None])]
        return _Seen(frames, inputs + [_torch_input(frame, preprocessing) for frame in frames[1:]])

    def infer(seen: list[_Seen], rows: list[int]) -> list[npt.NDArray[np.float64]]:
        logits = [_logits(engine, np.concatenate([one.inputs[way] for one in seen])) for way in range(3)]
        return [_differences(seen, logits, way) for way in (1, 2)]

    found = sweep(images, read, infer, batch=batch, workers=workers, progress=progress)
    results = []
    for kind, parts in zip(KINDS, zip(*found.results, strict=True), strict=True):
        table = np.concatenate(parts)
        pixel, array, logit, changed = table.T
        names = [image_name(images[int(row)], int(row)) for row in found.rows[changed > 0]]
        results.append(
            PreprocessingParity(
                kind, len(table), int(pixel.max()), float(array.max()), float(logit.max()), tuple(names)
            )
        )
    return tuple(results), found.skipped


def _differences(seen: Sequence[_Seen], logits: list[npt.NDArray[Any]], way: int) -> npt.NDArray[np.float64]:
    """Return largest differences of pixels, input and logits and whether the class changes, (N, 4)."""
    return np.array(
        [
            (
                _largest(one.frames[0], one.frames[way]),
                _largest(one.inputs[0], one.inputs[way]),
                _largest(ours, theirs),
                ours.argmax() != theirs.argmax(),
            )
            for one, ours, theirs in zip(seen, logits[0], logits[way], strict=True)
        ],
        np.float64,
    )


def _logits(engine: Engine, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the class scores, or of a network without any its first output, (N, values)."""
    outputs = engine.rows(inputs)
    scores = engine.task.class_scores(outputs)
    return outputs[0].values.reshape(len(inputs), -1) if scores is None else scores


def _largest(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def _torch_frame(image: ImageLike, preprocessing: Preprocessing, kind: str) -> npt.NDArray[np.uint8]:
    """Return the pixels that torchvision's `Resize` and `CenterCrop` leave, (H, W, C) uint8."""
    picture = prepare.colour(preprocessing, _without_palette_alpha(open_unprepared(image)))
    width, height = picture.size
    wanted = preprocessing.size
    if preprocessing.fit == "crop":
        least = preprocessing.resize
        wanted = Size(int(least.width * height / width), least.width)
        if wanted.height < least.height:
            wanted = Size(least.height, int(least.height * width / height))
    if kind == "pil":
        pixels = np.asarray(picture.resize(wanted[::-1], resample(preprocessing.interpolation)))
    else:
        pixels = _resize_tensor(np.asarray(picture), wanted, preprocessing.interpolation)
    top, left = (round((size - side) / 2) for size, side in zip(wanted, preprocessing.size, strict=True))
    cut = pixels[top : top + preprocessing.height, left : left + preprocessing.width]
    return prepare.frame_of(preprocessing, Image.fromarray(cut[:, :, 0] if cut.shape[2:] == (1,) else cut))


def _without_palette_alpha(picture: Image.Image) -> Image.Image:
    """Return a palette with transparency as RGBA: Pillow warns where it is converted to RGB at once."""
    clear = picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes)
    return picture.convert("RGBA") if clear else picture


def _resize_tensor(
    pixels: npt.NDArray[np.uint8], size: tuple[int, int], interpolation: str
) -> npt.NDArray[np.uint8]:
    """Resize (H, W) or (H, W, 3) as torchvision does a tensor: in float32, rounded to whole levels."""
    torch = require("torch", _PURPOSE)
    tensor = torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())[None].to(torch.float32)
    options: dict[str, Any] = (
        {} if interpolation == "nearest" else {"align_corners": False, "antialias": True}
    )
    resized = torch.nn.functional.interpolate(tensor, size=size, mode=interpolation, **options)
    whole = resized.clamp(0, 255).round().to(torch.uint8)
    return np.asarray(whole[0].permute(1, 2, 0).numpy())


def _torch_input(frame: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Return (1, C, H, W) float32: torchvision's `ToTensor` and `Normalize`."""
    torch = require("torch", _PURPOSE)
    tensor = (
        torch.from_numpy(frame.transpose(2, 0, 1).copy()).to(torch.float32).div(255 // preprocessing.pixels)
    )
    mean, std = (
        torch.tensor(values, dtype=torch.float32)[:, None, None]
        for values in (preprocessing.mean, preprocessing.std)
    )
    return np.asarray(tensor.sub(mean).div(std)[None].numpy())
