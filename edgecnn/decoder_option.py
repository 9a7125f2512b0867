"""The option that says how outputs become boxes or masks, of every verb that takes foreign files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgecnn import strict_json
from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.options import Request, option
from edgecnn.registry import suggest

#: The rows of `tasks.decoders.DECODERS`, which needs numpy.
DECODER_NAMES = (
    "ssd", "retinanet", "fcos", "yolox", "yolov5", "yolov8", "end-to-end", "detr", "rt-detr", "picodet",
    "centerface", "dbnet", "logit-mask", "index-mask",
)  # fmt: skip
#: What can be said of them: docs/tasks.md lists which decoder reads which.
SETTING_NAMES = (
    "score", "iou", "limit", "shown", "candidates", "classes", "strides", "grids", "ratios", "scales",
    "steps", "clip", "sizes", "coding", "threshold", "grow", "least",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DecoderOption(Request):
    """What is said of a network's outputs. Raises UnknownNameError, and InvalidValueError for no value."""

    decoder: str | None = option(
        None,
        f"Layout of a detector's or segmenter's outputs: {', '.join(DECODER_NAMES)}; settings may follow:"
        ' "yolov8 iou=0.45 classes=0,2".',
        unset="the file's own, or as its outputs tell",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.settings

    @property
    def settings(self) -> dict[str, Any] | None:
        """What is said, as it stands in a manifest; None for nothing."""
        if self.decoder is None:
            return None
        name, *pairs = self.decoder.split() or [""]
        _demand("decoder", name, DECODER_NAMES)
        return {"name": name, **dict(_setting(pair) for pair in pairs)}


def _setting(text: str) -> tuple[str, Any]:
    """Return the name and the value of KEY=0.5, KEY=1,2,3 or KEY=[[1],[2,3]]."""
    key, _, value = text.partition("=")
    _demand("setting of a decoder", key, SETTING_NAMES)
    try:
        read = strict_json.loads(f"[{value}]" if "," in value and not value.startswith("[") else value)
        if _is_setting(read):
            return key, read
    except ValueError:
        pass
    raise InvalidValueError(
        f"`decoder` {text!r:.80} gives no value", hint=f"{key}=0.5, {key}=1,2,3 or {key}=[[1],[2,3]]"
    )


def _is_setting(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_setting, value))
    return isinstance(value, bool | int | float)


def _demand(kind: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        raise UnknownNameError(f"`decoder`: unknown {kind} {name!r:.60}", hint=suggest(name, known))
