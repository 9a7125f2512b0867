"""What may happen to training images: rows, each a preset by its name. `augment` does it."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.errors import UnknownNameError
from edgecnn.registry import suggest


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image on its way to a network's input, in the order of the fields."""

    name: str
    #: Smallest and largest area of a random crop, as shares of the image (Szegedy et al. 2014, section 6);
    #: None for the preprocessing's own resizing and central crop.
    crop: tuple[float, float] | None = None
    #: Largest sides of a canvas, as multiples of the picture's, on which half of the pictures are put; the
    #: others are cropped (Liu et al. 2015, section 3.6). 1 for none.
    expand: float = 1.0
    #: Half of the images are mirrored.
    flip: bool = False
    #: Largest shift along each axis, in whole pixels, as a share of the size.
    shift: float = 0.0
    #: Largest rotation, in degrees.
    rotate: float = 0.0
    #: Largest change of size, as a share.
    zoom: float = 0.0
    #: Largest change of brightness, contrast and saturation, as a share, in random order.
    jitter: float = 0.0
    #: RandAugment's number of operations and strength (0 to 10); None for none.
    randaugment: tuple[int, float] | None = None
    #: Share of the images in which a rectangle becomes noise (Zhong et al. 2017).
    erase: float = 0.0
    #: Grey value, 0..255, of what moving uncovers; None for the preprocessing's mean colour.
    fill: int | None = None

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self != Augmentation(self.name, fill=self.fill)


_PRESETS = {
    preset.name: preset
    for preset in (
        Augmentation("none"),
        # Digits change their meaning when mirrored, and stand on black.
        Augmentation("digits", shift=0.08, rotate=10.0, zoom=0.1, fill=0),
        # Four pixels of 32, and mirrored: He et al. 2015, section 4.2.
        Augmentation("light", flip=True, shift=0.125),
        # Small networks learn less from very small crops: Howard et al. 2017, section 3.2.
        Augmentation("standard", crop=(0.25, 1.0), flip=True, jitter=0.3),
        # And weaker operations: RandAugment's section 4.1.
        # Small objects too, in the colours of any light: Liu et al. 2015, sections 2.2 and 3.6.
        Augmentation("objects", crop=(0.1, 1.0), expand=2.5, flip=True, jitter=0.4),
        Augmentation("strong", crop=(0.25, 1.0), flip=True, jitter=0.3, randaugment=(2, 5.0), erase=0.25),
    )
}
AUGMENTATIONS = tuple(_PRESETS)


def augmentation(name: str) -> Augmentation:
    """Return a preset of `AUGMENTATIONS`; raises UnknownNameError."""
    if name not in _PRESETS:
        raise UnknownNameError(f"unknown augmentation {name!r}", hint=suggest(name, list(_PRESETS)))
    return _PRESETS[name]
