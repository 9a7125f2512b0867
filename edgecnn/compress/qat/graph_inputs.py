"""From images to all inputs of a graph in training: views of them, and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.samples import constant, image_spec, is_batched, is_image, view_axes


class GraphInputs(nn.Module):
    """Gives each image input a view of the images, as calibration does, and the others their constants.

    Raises InvalidValueError for an input that is no image and has no constant.
    """

    def __init__(self, specs: Sequence[TensorSpec], constants: Mapping[str, Sequence[float]]) -> None:
        super().__init__()
        self._specs = [spec for spec in specs if spec.name not in constants]
        image = image_spec(specs)
        unknown = next((spec for spec in self._specs if spec is not image and not is_image(spec)), None)
        if unknown is not None:
            raise InvalidValueError(
                f"the input {unknown.name!r} is no image, and training has no value for it",
                hint=f"`input` {unknown.name}=VALUE for all images",
            )
        #: Name of a constant's input: the buffer that holds it, for one image, and whether each image has it.
        self._constants: dict[str, tuple[str, bool]] = {}
        for number, spec in enumerate(item for item in specs if item.name in constants):
            (value,) = constant(spec, constants[spec.name], image, 1)
            self._constants[spec.name] = f"value_{number}", is_batched(spec, image)
            self.register_buffer(f"value_{number}", torch.from_numpy(np.array(value)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return every input by its name, for images (N, C, H, W)."""
        found = {spec.name: _view(images, number, spec) for number, spec in enumerate(self._specs)}
        for name, (buffer, batched) in self._constants.items():
            value: Tensor = getattr(self, buffer)
            found[name] = value.expand(len(images), *value.shape) if batched else value
        return found


def _view(images: Tensor, number: int, spec: TensorSpec) -> Tensor:
    """Return the images as input `number` gets them: channels last only where they fit in no other way."""
    if number:
        images = images.flip(view_axes(number, height=2, width=3))
    sizes = zip(spec.shape[1:], images.shape[1:], strict=False)  # of another rank an operator says it
    fits = all(not isinstance(size, int) or size == own for size, own in sizes)
    return images if fits or spec.layout != "NHWC" else images.permute(0, 2, 3, 1)
