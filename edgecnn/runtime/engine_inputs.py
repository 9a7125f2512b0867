"""What an engine is given: an array, or one for each input by name, of the shapes and types that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.errors import InputError

Array = npt.NDArray[Any]
#: An array, or one for each input by name.
Inputs = Array | Mapping[str, Array]


def by_input(inputs: Inputs, specs: Sequence[TensorSpec], who: str) -> list[Array]:
    """Return what is given for each input, in their order; raises InputError for other inputs."""
    if not isinstance(inputs, Mapping):
        if len(specs) == 1:
            return [inputs]
        inputs = {specs[0].name: inputs}
    names = [spec.name for spec in specs]
    if sorted(inputs) != sorted(names):
        raise InputError(
            f"{who} takes {', '.join(map(repr, names))}, not {', '.join(map(repr, inputs)) or 'nothing'}",
            hint="give a dictionary with an array for each input by its name",
        )
    return [inputs[name] for name in names]


def fitting(inputs: Inputs, specs: Sequence[TensorSpec], who: str) -> list[Array]:
    """Return the arrays, one for each input, if they have the inputs' shapes and types; raises InputError."""
    arrays = by_input(inputs, specs, who)
    for spec, array in zip(specs, arrays, strict=True):
        _demand_fit(spec, array, who if len(specs) == 1 else f"input {spec.name!r} of {who}")
    return arrays


def _demand_fit(spec: TensorSpec, array: object, who: str) -> None:
    if not isinstance(array, np.ndarray | np.generic):
        raise InputError(
            f"{who} takes a NumPy array, not an object of type {type(array).__name__}",
            hint="numpy.asarray(...) makes one; engine.predict(images) takes images",
        )
    if (
        array.dtype != spec.dtype
        or array.ndim != len(spec.shape)
        or array.size == 0
        or any(
            isinstance(size, int) and size != given
            for size, given in zip(spec.shape, array.shape, strict=True)
        )
    ):
        wanted = " x ".join(str(size) for size in spec.shape) or "a scalar"
        shape = " x ".join(str(size) for size in array.shape) or "a scalar"
        raise InputError(
            f"{who} takes {wanted} {spec.dtype}, not {shape} {array.dtype}",
            hint="prepare images with engine.prepare(images), or call engine.predict(images)",
        )


def image_layout(shape: Sequence[int | str]) -> str:
    """Return the layout of a foreign file's input, which does not say: images have few channels."""
    few = (1, 3, 4)
    return "NHWC" if len(shape) == 4 and shape[3] in few and shape[1] not in few else "NCHW"


def layout_of(shape: Sequence[int | str]) -> str:
    """Return the layout of an input or output, (N, ...), that the file does not say; "" for neither."""
    return image_layout(shape) if len(shape) == 4 else "NC" if len(shape) == 2 else ""


def known_layout(name: str, shape: Sequence[int | str], manifest: Manifest | None) -> str:
    """Return the layout of an input: what the manifest says, else what its shape tells."""
    known = manifest.inputs if manifest else ()
    named = next((spec for spec in known if spec.name == name), known[0] if len(known) == 1 else None)
    return named.layout if named is not None else layout_of(shape)
