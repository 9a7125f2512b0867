"""What an engine does with images: it knows how they are prepared, and makes its input of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError, InputError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import constant, is_batched
from edgecnn.tasks.view import View

Array = npt.NDArray[Any]


class PreparesImages:
    """From images to the arrays that an engine takes."""

    path: Path
    #: What the engine takes, in the graph's order.
    inputs: tuple[TensorSpec, ...]
    #: Values of inputs that are no images by name, as far as the manifest or a user says them.
    constants: dict[str, tuple[float, ...]]
    _image_input: TensorSpec
    _preprocessing: Preprocessing | None

    @property
    def input(self) -> TensorSpec:
        """The input whose first axis counts the images: the first image, else the first input."""
        return self._image_input

    def prepare_by(self, preprocessing: Preprocessing) -> None:
        """Let images be prepared so, whatever the file says or does not say."""
        self._preprocessing = preprocessing

    @property
    def is_prepared(self) -> bool:
        """Whether it is known how images are prepared."""
        return self._preprocessing is not None

    def demand_own_preprocessing(self) -> None:
        """Raise ArtifactError if the file's manifest prepares other images than its input takes."""
        if self._preprocessing is not None:
            self._preprocessing.demand_input(self.input.shape, self.input.layout, self.path.name)

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the input; raises ArtifactError for a file that does not say."""
        if self._preprocessing is None:
            raise ArtifactError(
                f"{self.path} carries no manifest, so how its images are prepared is not known",
                hint="pass load(path, preprocessing=...), or export the network with edgecnn",
            )
        return self._preprocessing

    def prepare(self, images: Sequence[ImageLike]) -> Array:
        """Return images as an input array of this engine; one image that cannot be read is a DataError."""
        if not len(images):
            raise InputError("there are no images to prepare", hint="give at least one")
        return self.prepare_frames(np.stack([prepare.frame(self.preprocessing, image) for image in images]))

    def take_constants(self, constants: Mapping[str, Sequence[float]]) -> None:
        """Let inputs that are no images have these values, over the file's; raises InvalidValueError."""
        for name, value in constants.items():
            spec = next((spec for spec in self.inputs if spec.name == name), None)
            if spec is None:
                raise InvalidValueError(
                    f"{self.path.name} has no input {name!r}",
                    hint=f"it takes {', '.join(repr(spec.name) for spec in self.inputs)}",
                )
            constant(spec, value, self.input, 1)
            self.constants[name] = tuple(value)

    def with_constants(self, images: Array) -> Inputs:
        """Return all inputs for prepared images, where those that are no images have values."""
        if len(self.inputs) == 1:
            return images
        found = {self.input.name: images}
        for spec in self.inputs:
            if spec.name in self.constants:
                value = constant(spec, self.constants[spec.name], self.input, len(images))
                found[spec.name] = value if is_batched(spec, self.input) else value[0]
        return found

    def prepare_viewed(self, image: ImageLike) -> tuple[Array, View]:
        """Return an image as an input array, and where it lies in that; decoded once."""
        preprocessing = self.preprocessing
        picture = open_image(image)
        return self.prepare([picture]), prepare.view(preprocessing, Size(picture.height, picture.width))

    def prepare_frames(self, frames: npt.NDArray[np.uint8]) -> Array:
        """Return fitted images, (N, height, width, channels) uint8, as an input array."""
        return self.input_of(frames, self.preprocessing)

    def input_of(
        self, frames: npt.NDArray[np.uint8], preprocessing: Preprocessing, spec: TensorSpec | None = None
    ) -> Array:
        """Return frames in the type and layout of an input: uint8 as they are, floats normalized.

        That is `engine.input` where none is given.
        """
        spec = spec or self.input
        nhwc = spec.layout == "NHWC"
        if spec.dtype == "uint8":
            return frames if nhwc else frames.transpose(0, 3, 1, 2)
        normalized = prepare.normalize(preprocessing, frames).astype(spec.dtype, copy=False)
        return normalized.transpose(0, 2, 3, 1) if nhwc else normalized
