"""A data set by name: who opens it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from edgecnn.data.dataset import DataSet
from edgecnn.data.formats import format_of, named
from edgecnn.data.split import Split
from edgecnn.errors import DataError
from edgecnn.progress import Progress, silent
from edgecnn.registry import suggest

_Opener = Callable[[str, Split, Progress], DataSet]

#: Who opens a data set, as "module:function": each imports what only it needs.
_FOLDER = "edgecnn.data.class_folders:open_class_folders"
_HUGGING_FACE = "edgecnn.data.huggingface:open_huggingface"
_STAMPS = "edgecnn.data.stamps_dataset:open_stamps"
_NAMES = {
    "digits": "edgecnn.data.builtin:open_digits",
    "mnist": "edgecnn.data.mnist:open_mnist",
    "cifar10": "edgecnn.data.cifar10:open_cifar10",
    "stamps": _STAMPS,
    "stamps-masks": _STAMPS,
}


def open_dataset(
    name: str,
    *,
    seed: int = 0,
    validation: float = 0.1,
    whole: bool = False,
    progress: Progress = silent,
) -> DataSet:
    """Open a folder in a format of `FORMATS` or of class folders, a data set by name, or `hf:OWNER/NAME`.

    A folder that exists comes before a data set of that name; its format is told by what lies there, or by
    `FORMAT:FOLDER`. `validation` is the share of the training
    images that is kept out of training, unless the data set brings validation images of its own. `seed`
    decides which. All of a `whole` set tests, unless it brings parts. Raises DataError.
    """
    split = Split(seed, validation, whole)
    module, _, function = check_name(name).partition(":")
    opened = cast(_Opener, getattr(importlib.import_module(module), function))(name, split, progress)
    return replace(opened, split_seed=seed)


def check_name(name: str) -> str:
    """Return the opener of a data set; raise DataError if there is none of that name. Nothing is opened."""
    if name.startswith("hf:"):
        return _HUGGING_FACE
    if Path(name).exists() and (stored := format_of(Path(name))):
        return stored.opener
    if Path(name).is_dir():
        return _FOLDER
    if name in _NAMES:
        return _NAMES[name]
    if _NAMES.get(name.partition(":")[0]) == _STAMPS:  # with a size
        return _STAMPS
    if said := named(name):
        stored, place = said
        if not place.exists():
            raise DataError(f"there is no {place}", hint=f"expected: a folder with {stored.layout}")
        return stored.opener
    raise DataError(
        f"there is no data set {name}",
        hint=f"{suggest(name, [*_NAMES, 'hf:OWNER/NAME'])}; or give a folder with one folder per class,"
        " or with boxes or masks",
    )


def is_local(name: str) -> bool:
    """Return whether a data set lies in a folder or a file of the user's."""
    return Path(name).exists() or named(name) is not None


def holds_class_folders(name: str) -> bool:
    """Return whether a data set is a folder with one folder per class. Raises DataError."""
    return Path(name).is_dir() and check_name(name) == _FOLDER
