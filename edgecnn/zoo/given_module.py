"""A user's own network in the place of one of the zoo's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgecnn.errors import InvalidValueError
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.spec import NetworkSpec

#: What the lineage and the manifest say of its weights.
ORIGIN = "its own"


@dataclass(frozen=True)
class GivenModule(NetworkSpec):
    """A module that takes (N, C, H, W) and gives one tensor of a row for each image.

    `resolution` is the side of its input, or height and width, `in_channels` 3 unless said. Raises
    InvalidValueError without a resolution, or for preprocessing of other images.
    """

    module: nn.Module = field(kw_only=True)
    #: From an image to its input; None for ImageNet's, or of one channel the identity.
    given_preprocessing: Preprocessing | None = field(default=None, kw_only=True)
    given_labels: tuple[str, ...] | None = field(default=None, kw_only=True)
    #: Number of values that the network gives for an image, which is known when it ran.
    given_classes: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.resolution is None:
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
    def classes(self) -> int:
        """Number of values that the network gives for an image."""
        return self.given_classes

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
        kind = type(self.module)
        return {"module": f"{kind.__module__}:{kind.__qualname__}", "resolution": self.size.said}
