"""Networks that say of each pixel what it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.decoder import (
    Array,
    Mask,
    MaskDecoder,
    NetworkEnd,
    default,
    labelled,
    wrong_outputs,
)


class LogitMask(MaskDecoder):
    """A map for each class, the highest being the pixel's; of one map, whether it is above a threshold."""

    name = "logit-mask"
    title = "FCN, DeepLab, LR-ASPP, U-Net, SegFormer"
    defaults = default(threshold=0.0)

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether the only output is called logits and is maps of several classes."""
        if len(end.outputs) != 1 or end.outputs[0].name != "logits":
            return False
        shape = end.shapes()[0]
        return len(shape) == 3 and (shape[0] or 0) > 1 and shape[1] != 1

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are, two where one map says yes or no."""
        return 2 if end.first(0) == 1 else end.first(0)

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Mask]:
        """Return the masks of (N, classes, height, width); smaller maps are enlarged between their values."""
        settings = self.settled(settings)
        values = np.asarray(_first(outputs, (4,), self.name), np.float32)
        values = np.moveaxis(labelled(np.moveaxis(values, 1, -1), settings), -1, 1)
        if values.shape[1] == 1:
            least = number(settings, "threshold")
            return [(enlarged(maps, size)[0] > least).astype(np.uint8) for maps in values]
        kind = np.uint8 if values.shape[1] <= 255 else np.int32
        return [enlarged(maps, size).argmax(axis=0).astype(kind) for maps in values]


class IndexMask(MaskDecoder):
    """The index of the class, of each pixel."""

    name = "index-mask"
    title = "segmenters that end in an argmax"

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether the only output is a map of integers, as large as the input."""
        if len(end.outputs) != 1 or not end.outputs[0].dtype.lstrip("u").startswith("int"):
            return False
        shape = end.shapes()[0]
        return end.size is not None and shape in (tuple(end.size), (1, *end.size))

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Mask]:
        """Return the masks of (N, height, width) or (N, 1, height, width); of maps, what an argmax gives."""
        if outputs[0].values.dtype.kind == "f":  # what enters the argmax, which is what is compared
            return LogitMask().decode(outputs, settings, size)
        values = _first(outputs, (3, 4), self.name)
        if values.ndim == 4:
            values = values[:, 0]
        kind = np.uint8 if not values.size or values.max() < 255 else np.int32
        return [_nearest(mask, size).astype(kind) for mask in values]


def enlarged(maps: Array, size: Size) -> Array:
    """Return maps, (..., height, width), of another size, linear between the values' centres."""
    for axis, side in ((-2, size.height), (-1, size.width)):
        own = maps.shape[axis]
        if own == side:
            continue
        places = np.clip((np.arange(side) + 0.5) * own / side - 0.5, 0, own - 1)
        low = np.floor(places).astype(np.int64)
        high = np.minimum(low + 1, own - 1)
        share = (places - low).astype(np.float32)
        if axis == -2:
            share = share[:, None]
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def _nearest(mask: Array, size: Size) -> Array:
    rows, columns = ((np.arange(side) + 0.5) * own / side for side, own in zip(size, mask.shape, strict=True))
    found: Array = mask[rows.astype(np.int64)[:, None], columns.astype(np.int64)[None]]
    return found


def _first(outputs: Sequence[Output], axes: tuple[int, ...], decoder: str) -> Array:
    """Return the first output; others, such as those that help in training, are left out."""
    values: Array = outputs[0].values
    if (
        values.ndim not in axes
        or 0 in values.shape[1:]
        or (values.ndim == 4 and 3 in axes and values.shape[1] != 1)
    ):
        raise wrong_outputs(outputs, decoder)
    return values
