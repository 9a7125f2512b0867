"""Folders of images: unlabelled for calibration, or one folder per class for accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.data.builtin import digits
from edgecnn.errors import DataError
from edgecnn.runtime.images import ImageLike, find_images

#: Of a folder of calibration images every fifth is kept for the check.
CHECK_SHARE = 5
#: Fewer than this cannot be split into images that calibrate and (several) images that check.
MIN_IMAGES = 8


def split(folder: str | Path, seed: int = 0) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder as (for calibration, for the check), shuffled by `seed`.

    Raises DataError for a missing or empty folder, or one with too few images to split.
    """
    images = find_images(folder)
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{folder} holds {len(images)} image{'s' * (len(images) != 1)}: too few to calibrate and check",
            hint=f"give at least {MIN_IMAGES}; a hundred or more that look like the device's own is good",
        )
    order = np.random.default_rng(seed).permutation(len(images))
    shuffled = [images[index] for index in order]
    return (
        [image for index, image in enumerate(shuffled) if index % CHECK_SHARE],
        shuffled[::CHECK_SHARE],
    )


@dataclass(frozen=True)
class LabelledImages:
    """Images with the index of their class."""

    name: str
    images: list[ImageLike]
    labels: list[int]


def labelled(source: str, classes: int, names: list[str] | None = None) -> LabelledImages:
    """Return `digits` (the rows that never calibrate), or the images of a folder of class folders.

    A class folder is matched by name to `names` (the network's labels) if they fit, else the
    folders in sorted order are the classes, which then must be as many as the network has.
    Raises DataError.
    """
    if source == "digits" and not Path(source).exists():
        if classes != 10:
            raise DataError(
                f"digits have 10 classes, this network has {classes}",
                hint="edgecnn export lenet5 reads digits",
            )
        images, labels = digits()
        return LabelledImages("digits, the odd rows", list(images[1::2]), labels[1::2].tolist())
    root = Path(source)
    if not root.is_dir():
        raise DataError(
            f"there is no data set {source}", hint="give a folder with one folder per class, or: digits"
        )
    folders = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not folders:
        raise DataError(f"{root} holds no class folders", hint="expected: FOLDER/CLASS/image.jpg")
    indices = _class_indices([folder.name for folder in folders], classes, names or [], root)
    found: list[ImageLike] = []
    labels_found: list[int] = []
    for folder, index in zip(folders, indices, strict=True):
        images_here = find_images(folder)
        found += images_here
        labels_found += [index] * len(images_here)
    return LabelledImages(str(root), found, labels_found)


def _class_indices(folders: list[str], classes: int, names: list[str], root: Path) -> list[int]:
    # Label names repeat in ImageNet ("crane" is a bird and a machine): only unambiguous ones count.
    known = {name.lower(): index for index, name in enumerate(names) if names.count(name) == 1}
    if all(name.lower() in known for name in folders):
        return [known[name.lower()] for name in folders]
    if all(name.isdecimal() and int(name) < classes for name in folders):
        return [int(name) for name in folders]
    if len(folders) == classes:
        return list(range(classes))
    strange = [name for name in folders if name.lower() not in known][:3]
    raise DataError(
        f"{root} has {len(folders)} class folders for a network of {classes} classes, and the folder"
        f" names are not its labels ({', '.join(strange)})",
        hint="name the folders by label or by class index, or give as many as the network has classes",
    )
