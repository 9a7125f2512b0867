"""What an engine is measured and checked on: photographs, samples from files, and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.data.crops import random_crops
from edgecnn.data.sample_files import list_samples, read_samples
from edgecnn.errors import InvalidValueError
from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.image_files import sample_photo
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import constant, image_sizes, is_image, pack, unpack, views

Array = npt.NDArray[Any]


def real_input(engine: Engine, batch: int | None, choice: InputChoice = PHOTOGRAPHS) -> Inputs:
    """Return an input of `batch` samples as the engine is called with; raises as `real_samples` does."""
    return unpack(real_samples(engine, batch or engine.batches[0], batch, choice), engine.inputs)


def batch_of(engine: Engine, inputs: Inputs) -> int:
    """Return how many samples inputs are."""
    first = inputs[engine.input.name] if isinstance(inputs, Mapping) else inputs
    return len(first) if engine.input.shape else 1


def real_samples(
    engine: Engine, count: int, batch: int | None, choice: InputChoice = PHOTOGRAPHS
) -> npt.NDArray[Any]:
    """Return `count` samples (`runtime.samples`) as the engine takes them.

    Images are crops of a photograph that comes with the package. Never zeros or noise: what flows through a
    network can change how fast it runs. A foreign model is given ImageNet's normalization, which changes its
    answers and not its speed. Raises InvalidValueError if `batch` is not the fixed batch of the model, or for
    an input that is no image and nobody gives; DataError for samples that do not fit.
    """
    image = engine.input
    fixed = image.shape[0] if image.shape and isinstance(image.shape[0], int) else None
    if batch is not None and fixed is not None and batch != fixed:
        raise InvalidValueError(
            f"{engine.path.name} takes {fixed} image{'' if fixed == 1 else 's'} at a time, not {batch}",
            hint="export it without `batch` for any number",
        )
    if choice.samples is not None:
        files = list_samples(choice.samples)
        rows = np.arange(count) % len(files)
        return read_samples(files[:count], engine.inputs)[rows[:count] % min(count, len(files))]
    constants = {**engine.constants, **choice.constants}
    demand_known(engine.inputs, constants, engine.path.name)
    return pack(
        {
            spec.name: constant(spec, constants[spec.name], image, count)
            if spec.name in constants
            else _photographs(engine, spec, count, choice.size, seed)
            for seed, spec in enumerate(engine.inputs)
        }
    )


def samples_at_most(choice: InputChoice, count: int) -> int:
    """Return how many different samples there are of `count`; of images as many as wanted."""
    return count if choice.samples is None else min(count, len(list_samples(choice.samples)))


def inputs_of_frames(
    engine: Engine, frames: npt.NDArray[np.uint8], constants: Mapping[str, Sequence[float]] | None = None
) -> Inputs:
    """Return framed images, (N, H, W, C), as all inputs of an engine: each image input gets a view.

    `constants` go before those of the engine's manifest.
    Raises InvalidValueError for an input that is no image and has no constant.
    """
    if len(engine.inputs) == 1:
        return engine.prepare_frames(frames)
    constants = {**engine.constants, **(constants or {})}
    demand_known(engine.inputs, constants, engine.path.name)
    arrays, turned = {}, 0
    for spec in engine.inputs:
        if spec.name in constants:
            arrays[spec.name] = constant(spec, constants[spec.name], engine.input, len(frames))
            continue
        own = views(frames, turned, height=1, width=2)
        arrays[spec.name] = engine.input_of(own, engine.preprocessing, spec)
        turned += 1
    return unpack(pack(arrays), engine.inputs)


def demand_known(inputs: Sequence[TensorSpec], constants: Mapping[str, Any], who: str) -> None:
    """Raise InvalidValueError for an input that nothing is known for, and for a constant of none."""
    names = [spec.name for spec in inputs]
    strange = [name for name in constants if name not in names]
    if strange:
        raise InvalidValueError(
            f"{who} has no input {strange[0]!r}", hint=f"it takes {', '.join(map(repr, names))}"
        )
    unknown = [spec for spec in inputs if spec.name not in constants and not is_image(spec)]
    if unknown:
        shape = " x ".join(map(str, unknown[0].shape)) or "one number"
        raise InvalidValueError(
            f"{who} takes no image at {unknown[0].name!r}, but {shape} {unknown[0].dtype}",
            hint=f"`samples` FOLDER of .npz files with its arrays, or `input` {unknown[0].name}=VALUE",
        )


def _photographs(
    engine: Engine, spec: TensorSpec, count: int, size: tuple[int, int] | None, seed: int
) -> Array:
    """Return crops of a photograph for one image input."""
    if size is None and engine.is_prepared and spec is engine.input:
        size = _filled(spec, engine.preprocessing.size)
    height, width, channels = image_sizes(spec, size, engine.path.name)
    preprocessing = Preprocessing(height, width).with_channels(channels)
    if engine.is_prepared:
        preprocessing = engine.preprocessing.at((height, width))
    crops = random_crops([sample_photo()], preprocessing, count, seed=seed)
    frames = np.stack(list(crops))
    return engine.input_of(frames, preprocessing, spec)


def _filled(spec: TensorSpec, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size that images are prepared to, for an input that leaves its own free; else None."""
    free = any(not isinstance(side, int) for side in spec.shape[1:])
    return size if free else None
