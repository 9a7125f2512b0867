"""Names of classes: ImageNet's thousand, COCO's eighty, Pascal VOC's, digits, or what a manifest lists."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import resources

from edgecnn.errors import UnknownNameError
from edgecnn.registry import suggest


@functools.cache
def _listed(name: str) -> tuple[str, ...]:
    text = (resources.files("edgecnn.runtime") / f"{name}_labels.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def _digits() -> tuple[str, ...]:
    return tuple("0123456789")


_SETS: dict[str, Callable[[], tuple[str, ...]]] = {
    **{name: functools.partial(_listed, name) for name in ("imagenet", "coco", "voc")},
    "digits": _digits,
}


def label_set(name: str) -> tuple[str, ...]:
    """Return the names of "digits", "imagenet", "coco" or "voc"; raises UnknownNameError for another set."""
    if name not in _SETS:
        raise UnknownNameError(f"unknown label set {name!r}", hint=suggest(name, list(_SETS)))
    return _SETS[name]()


def count(labels: str | Sequence[str] | None) -> int | None:
    """Return how many classes the labels name; None without any."""
    return None if labels is None else len(label_set(labels) if isinstance(labels, str) else labels)


def known_names(labels: str | Sequence[str] | None, classes: int) -> Sequence[str]:
    """Return one name per class as the labels say; () if there are none, or not as many as classes."""
    known = label_set(labels) if isinstance(labels, str) else labels or ()
    return known if len(known) == classes else ()


def names(labels: str | Sequence[str] | None, classes: int) -> Sequence[str]:
    """Return one name per class; classes without a name are called "class 0", "class 1" and so on."""
    return known_names(labels, classes) or [f"class {index}" for index in range(classes)]
