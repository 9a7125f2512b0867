"""Folders of images: unlabelled for calibration, or one folder per class for accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.data.class_folders import class_folders, list_images, part_folders
from edgecnn.data.dataset import DataSet, Images, open_dataset
from edgecnn.errors import DataError
from edgecnn.runtime.image_folder import find_images

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
    images: Images
    labels: list[int]


def labelled(
    source: str,
    classes: int,
    names: Sequence[str] = (),
    progress: Callable[[str], None] = lambda step: None,
) -> LabelledImages:
    """Return the images that test a network: all of a folder of class folders, or a data set's test part.

    `source` is what `open_dataset` takes; of a folder with `train` and `test` or `val` inside, the latter is
    taken. Class folders are matched by name to `names` (the network's labels) if they fit, else by
    number, else the folders in sorted order are the classes, which then must be as many as the
    network has. Raises DataError.
    """
    root = Path(source)
    if source.startswith("hf:") or not root.is_dir():
        return of_dataset(open_dataset(source, progress=progress), classes, names)
    parts = part_folders(root)
    root = parts.get("test") or parts.get("validation") or root
    folders = [folder.name for folder in class_folders(root)]
    images, labels = list_images(root, folders)
    indices = _class_indices(folders, classes, names, numbered=True)
    if indices is None:
        known = {name.lower() for name in names}
        strange = [name for name in folders if name.lower() not in known][:3]
        raise DataError(
            f"{root} has {len(folders)} class folders for a network of {classes} classes, and the folder"
            f" names are not its labels ({', '.join(strange)})",
            hint="name the folders by label or by class index, or give as many as the network has classes",
        )
    return LabelledImages(str(root), images, [indices[label] for label in labels])


def of_dataset(dataset: DataSet, classes: int, names: Sequence[str] = ()) -> LabelledImages:
    """Return the test images of a data set, its classes matched to the network's. Raises DataError."""
    indices = _class_indices(dataset.class_names, classes, names, numbered=False)
    if indices is None:
        raise DataError(
            f"{dataset.name} has {dataset.classes} classes, this network has {classes}",
            hint="evaluate a network that was trained on it",
        )
    labels = [indices[label] for label in dataset.test.labels]
    return LabelledImages(f"{dataset.name}, its test images", dataset.test.images, labels)


def _class_indices(
    given: Sequence[str], classes: int, names: Sequence[str], *, numbered: bool
) -> list[int] | None:
    """Return the network's class for each given name; None if they do not fit."""
    # Label names repeat in ImageNet ("crane" is a bird and a machine): only unambiguous ones count.
    known = {name.lower(): index for index, name in enumerate(names) if names.count(name) == 1}
    if all(name.lower() in known for name in given):
        return [known[name.lower()] for name in given]
    if numbered and all(name.isdecimal() and int(name) < classes for name in given):
        return [int(name) for name in given]
    return list(range(classes)) if len(given) == classes else None
