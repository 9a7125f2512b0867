"""A user's own network in the place of one of the zoo's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from edgecnn.errors import InvalidValueError
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.own_network import ORIGIN
from edgecnn.zoo.spec import NetworkSpec


@dataclass(frozen=True)
class GivenModule(NetworkSpec):
    """A module that takes (N, C, H, W) and gives tensors with a row for each image.

    `resolution` is the side of its input, or height and width, `in_channels` 3 unless said. Raises
    InvalidValueError without a resolution, or for preprocessing of other images.
    """

    module: nn.Module = field(kw_only=True)
    #: From an image to its input; None for ImageNet's, or of one channel the identity.
    given_preprocessing: Preprocessing | None = field(default=None, kw_only=True)
    given_labels: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.resolution is None and self.image_size is None:
            raise InvalidValueError(
                f"{self.name} does not say how large its images are", hint="`resolution` 224"
            )
        super().__post_init__()
        channels = len(self.preprocessing.mean)
        if self.in_channels is not None and channels != self.in_channels:
            raise InvalidValueError(
                f"the preprocessing is for images of {channels} channels, not {self.in_channels}",
                hint="give one mean and one deviation for each channel",
            )

    @property
    def architecture(self) -> Architecture:
        """What stands for a row of the catalogue."""
        prepared = self.given_preprocessing or Preprocessing().with_channels(self.in_channels or 3)
        return Architecture(
            self.name, "yours", 0, "", "", self.resolution or 1, prepared, labels="", num_classes=0
        )

    @property
    def recorded_name(self) -> str:
        """Its class; whoever opens the checkpoint names what builds it."""
        kind = type(self.module)
        return f"{kind.__module__}:{kind.__qualname__}"

    @property
    def code_identity(self) -> list[Any]:
        """Its weights: another module of its class is another network."""
        content = hashlib.sha256()
        for name, value in self.module.state_dict().items():
            content.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            content.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return [content.hexdigest()]

    @property
    def in_catalogue(self) -> bool:
        """The code is the user's."""
        return False

    @property
    def labels(self) -> str | tuple[str, ...] | None:
        """What the classes are called; None where that is not known."""
        return self.given_labels

    @property
    def origin(self) -> str:
        """Where the weights come from."""
        return ORIGIN

    @property
    def has_new_classifier(self) -> bool:
        """Nothing is known of its training."""
        return False

    def asked(self) -> dict[str, Any]:
        """Return what the lineage keeps of it."""
        return {"module": self.recorded_name, "resolution": self.size.said}
