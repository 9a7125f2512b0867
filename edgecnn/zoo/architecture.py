"""What an architecture is, and how other packages bring theirs. Importing it needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size, SizeLike
from edgecnn.runtime.preprocessing import Preprocessing

#: Entry points of this group, in any installed package, are an Architecture or several.
PLUGIN_GROUP = "edgecnn.architectures"
#: More classes or input channels than these are taken for a slip of the finger.
MAX_CLASSES, MAX_CHANNELS = 1_000_000, 1024


@dataclass(frozen=True)
class Architecture:
    """A network by name: where it is built, what it was published as, and what its images look like."""

    name: str
    family: str
    year: int
    paper: str
    #: "module:function". The function takes alpha, num_classes, in_channels and `arguments`.
    build: str
    #: Side of the square input, or its height and width, in pixels.
    resolution: SizeLike
    preprocessing: Preprocessing
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: The function also takes `resolution`, a side or height and width: some layer's shape depends on it.
    needs_resolution: bool = False
    aliases: tuple[str, ...] = ()
    num_classes: int = 1000
    #: Label set of the default classes, or the labels; empty where they are not known.
    labels: str | tuple[str, ...] = "imagenet"
    #: Where `--weights imagenet` comes from: "package:MODULE", "torchvision:FILE" or
    #: "hf:OWNER/REPO@REVISION"; None if not known.
    imagenet: str | None = None
    #: Hash of that file, which another one is refused by; None where only the revision is known.
    imagenet_sha256: str | None = None
    #: Name of the task, as in a manifest.
    task: str = "classification"
    #: How raw outputs become boxes (`Manifest.decoder`), without the grids of the maps; None for none.
    decoder: Mapping[str, Any] | None = None
    #: Of a head over any backbone: the name of its own one; `arguments` have it too.
    backbone: str | None = None
    #: Where `--weights coco` comes from, as `imagenet`: trained weights of the whole network.
    coco: str | None = None

    @property
    def size(self) -> Size:
        """Height and width of the reference network's input, in pixels."""
        return Size.of(self.resolution)

    @property
    def in_channels(self) -> int:
        """Number of input channels of the reference network."""
        return self.preprocessing.channels


def check_counts(*, classes: int | None, channels: int | None) -> None:
    """Raise InvalidValueError for a number of classes or of input channels that no network has."""
    for what, count, most in (("classes", classes, MAX_CLASSES), ("input channels", channels, MAX_CHANNELS)):
        if count is not None and not 1 <= count <= most:
            raise InvalidValueError(f"a network cannot have {count} {what}", hint=f"1 to {most:,}")
