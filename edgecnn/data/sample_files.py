"""Samples that are no images: a folder of .npz files, one for each sample, with an array for each input.

What a file holds besides is its label, or several by name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import DataError
from edgecnn.runtime.samples import image_spec, is_batched, pack

Array = npt.NDArray[Any]
SUFFIX = ".npz"


def holds_samples(folder: str | Path | None) -> bool:
    """Return whether a folder holds sample files."""
    return folder is not None and Path(folder).is_dir() and any(Path(folder).glob(f"*{SUFFIX}"))


def list_samples(folder: str | Path) -> list[Path]:
    """Return the sample files of a folder by name; raises DataError if there are none."""
    found = sorted(Path(folder).glob(f"*{SUFFIX}"))
    if not found:
        raise DataError(
            f"{folder} holds no {SUFFIX} files",
            hint="numpy.savez('0.npz', NAME=array) writes one sample: an array for each input by its name",
        )
    return found


def read_samples(files: Sequence[Path], specs: Sequence[TensorSpec]) -> Array:
    """Return samples of a network with these inputs, out of a file each; raises DataError naming the file."""
    rows = [_inputs(path, specs) for path in files]
    arrays: dict[str, Array] = {}
    for spec in specs:
        shapes = {row[spec.name].shape for row in rows}
        if len(shapes) > 1:
            sizes = " and ".join(" x ".join(map(str, shape)) or "one number" for shape in sorted(shapes)[:2])
            raise DataError(
                f"the samples have arrays {spec.name!r} of several sizes, such as {sizes}",
                hint="samples of one size are compared; put others into a folder of their own",
            )
        arrays[spec.name] = np.stack([row[spec.name] for row in rows])
    _demand_same(arrays, specs, files)
    return pack(arrays)


def read_labels(files: Sequence[Path], specs: Sequence[TensorSpec]) -> Any:
    """Return what the files hold besides inputs: an array, (N, ...), of several a dictionary of them by name.

    Raises DataError where there is nothing, or not the same in all.
    """
    inputs = {spec.name for spec in specs}
    rows = [{name: value for name, value in _arrays(path).items() if name not in inputs} for path in files]
    names = list(rows[0])
    if not names or any(list(row) != names for row in rows):
        raise DataError(
            f"{files[0].parent} holds samples without labels, or with other labels in each",
            hint="what a file holds besides the inputs is its label: numpy.savez(FILE, NAME=input, label=3)",
        )
    try:
        columns = {name: np.stack([row[name] for row in rows]) for name in names}
    except ValueError as error:
        raise DataError(f"the labels in {files[0].parent} are of several sizes") from error
    return columns[names[0]] if len(columns) == 1 else columns


def _inputs(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return one sample: an array for each input, without the axis that counts samples."""
    arrays = _arrays(path)
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        raise DataError(
            f"{path} has no array {', '.join(map(repr, missing))}: it has {', '.join(map(repr, arrays))}",
            hint=f"the network takes {', '.join(repr(spec.name) for spec in specs)}",
        )
    image = image_spec(specs)
    return {
        spec.name: _fitted(path, spec, arrays[spec.name], batched=is_batched(spec, image)) for spec in specs
    }


def _fitted(path: Path, spec: TensorSpec, value: Array, *, batched: bool) -> Array:
    """Return an array as one sample's input, in its type; raises DataError if it is of another shape."""
    taken = spec.shape[1:] if batched else spec.shape
    if batched and value.ndim == len(taken) + 1 and len(value) == 1:
        value = value[0]
    if value.ndim != len(taken) or any(
        isinstance(size, int) and size != own for size, own in zip(taken, value.shape, strict=True)
    ):
        raise DataError(
            f"{path}: {spec.name!r} is {' x '.join(map(str, value.shape)) or 'one number'}, the network takes"
            f" {' x '.join(map(str, taken)) or 'one number'} for a sample",
            hint="an array for each input, without the axis of the batch or with 1 there",
        )
    if not np.can_cast(value.dtype, spec.dtype, "same_kind"):
        raise DataError(f"{path}: {spec.name!r} is {value.dtype}, the network takes {spec.dtype}")
    fitted: Array = value.astype(spec.dtype)
    if fitted.dtype.kind == "f" and not np.isfinite(fitted).all():
        raise DataError(f"{path}: {spec.name!r} holds values that are not finite")
    return fitted


def _arrays(path: Path) -> Mapping[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"{path} is no {SUFFIX} file of arrays, or a damaged one: {str(error)[:100]}",
            hint="numpy.savez writes one",
        ) from error


def _demand_same(arrays: Mapping[str, Array], specs: Sequence[TensorSpec], files: Sequence[Path]) -> None:
    """Raise DataError where an input that is one for a whole batch differs between samples."""
    image = image_spec(specs)
    for spec in specs:
        value = arrays[spec.name]
        if not is_batched(spec, image) and spec is not image and (value != value[:1]).any():
            raise DataError(
                f"the input {spec.name!r} is one for a whole batch, but differs in {files[0].parent}",
                hint="put samples with the same value into a folder of their own",
            )
