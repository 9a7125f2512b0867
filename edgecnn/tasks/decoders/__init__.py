"""How outputs become boxes or masks: one row for each layout that networks have."""

from __future__ import annotations

from edgecnn.registry import Registry
from edgecnn.tasks.decoders.anchored import Fcos, RetinaNet, Ssd
from edgecnn.tasks.decoders.centerface import CenterFace
from edgecnn.tasks.decoders.dbnet import DbNet
from edgecnn.tasks.decoders.decoder import BoxDecoder, Decoder, Mask, MaskDecoder, NetworkEnd
from edgecnn.tasks.decoders.detr import Detr, RtDetr
from edgecnn.tasks.decoders.masks import IndexMask, LogitMask
from edgecnn.tasks.decoders.picodet import PicoDet
from edgecnn.tasks.decoders.yolo import EndToEnd, YoloV5, YoloV8, Yolox

DECODERS: Registry[Decoder] = Registry("decoder")
for _decoder in (
    Ssd(),
    RetinaNet(),
    Fcos(),
    Yolox(),
    YoloV5(),
    YoloV8(),
    EndToEnd(),
    Detr(),
    RtDetr(),
    PicoDet(),
    CenterFace(),
    DbNet(),
    LogitMask(),
    IndexMask(),
):
    DECODERS.add(_decoder.name, _decoder)


def recognized(end: NetworkEnd) -> Decoder | None:
    """Return the decoder of a network that is surely of one layout; None where nothing is sure."""
    found = [decoder for decoder in DECODERS if decoder.suits(end)]
    return found[0] if len(found) == 1 else None


__all__ = ["DECODERS", "BoxDecoder", "Decoder", "Mask", "MaskDecoder", "NetworkEnd", "recognized"]
