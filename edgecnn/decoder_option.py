"""The option that says how outputs become boxes or masks, of every verb that takes foreign files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecnn.options import Request, option

#: The rows of `tasks.decoders.DECODERS`, which needs numpy.
DECODER_NAMES = (
    "ssd", "retinanet", "fcos", "yolox", "yolov5", "yolov8", "end-to-end", "detr", "rt-detr", "picodet",
    "centerface", "dbnet", "logit-mask", "index-mask",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DecoderOption(Request):
    """What is said of a network's outputs. Raises UnknownNameError."""

    decoder: str | None = option(
        None,
        f"Layout of a detector's or segmenter's outputs: {', '.join(DECODER_NAMES)}.",
        unset="the file's own, or as its outputs tell",
        choices=DECODER_NAMES,
    )

    @property
    def settings(self) -> dict[str, Any] | None:
        """What is said, as it stands in a manifest; None for nothing."""
        return None if self.decoder is None else {"name": self.decoder}
