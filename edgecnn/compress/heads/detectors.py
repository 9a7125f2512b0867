"""Which loss goes with which raw outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edgecnn.compress.heads.centerness import CenternessLoss
from edgecnn.compress.heads.focal import FocalLoss
from edgecnn.compress.heads.head_loss import HeadLoss
from edgecnn.compress.heads.multibox import MultiBoxLoss
from edgecnn.compress.heads.simota import SimOTALoss
from edgecnn.image_size import Size
from edgecnn.registry import Registry


class _Make(Protocol):
    def __call__(self, settings: Mapping[str, Any], size: Size) -> HeadLoss: ...


#: By the name of the decoder.
LOSSES: Registry[_Make] = Registry("loss of a detector")
for _name, _make in (
    ("ssd", MultiBoxLoss), ("retinanet", FocalLoss), ("fcos", CenternessLoss), ("yolox", SimOTALoss),
):  # fmt: skip
    LOSSES.add(_name, _make)


def detector_loss(settings: Mapping[str, Any], size: Size) -> HeadLoss:
    """Return the loss of a detector by its decoder's settings, with the grids of its maps."""
    return LOSSES.get(str(settings["name"]))(settings, size)
