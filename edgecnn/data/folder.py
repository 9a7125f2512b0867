"""Folders of images: unlabelled for calibration, or one folder per class for accuracy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data import identity
from edgecnn.data.class_folders import list_images, part_folders
from edgecnn.data.dataset import DataSet, Images, demand_task, file_size
from edgecnn.data.label_kinds import LABEL_KINDS
from edgecnn.data.open_dataset import holds_class_folders, open_dataset
from edgecnn.errors import DataError
from edgecnn.progress import Progress, silent
from edgecnn.runtime.image_folder import demand_images, list_folder

#: Of a folder of calibration images every fifth is kept for the check.
CHECK_SHARE = 5
#: Fewer than this cannot be split into images that calibrate and (several) images that check.
MIN_IMAGES = 8


#: ImageNet's own names of its classes, in whose order they are numbered.
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class CalibrationImages:
    """The images of a folder, shuffled: those that calibrate, those that check, and what was left out."""

    calibration: list[Path]
    check: list[Path]
    notes: tuple[str, ...] = ()


def split(folder: str | Path, seed: int = 0) -> CalibrationImages:
    """Divide the images of a folder, shuffled by `seed`; of several copies of an image the first stays.

    Raises DataError for a missing or empty folder, or one with too few images to split.
    """
    found = demand_images(list_folder(folder))
    same = identity.find_copies(found.images, [file_size(file) for file in found.images])
    images = [found.images[row] for row in np.unique(same.firsts)]
    notes = [*found.notes, *([same.note] if same.note else [])]
    if copies := len(found.images) - len(images):
        notes.append(f"{copies} of the images in {folder} left out: copies of others")
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{folder} holds {len(images)} image{'s' * (len(images) != 1)}: too few to calibrate and check",
            hint="; ".join(
                [
                    f"give at least {MIN_IMAGES}; a hundred that look like the device's own are good",
                    *notes,
                ]
            ),
        )
    order = np.random.default_rng(seed).permutation(len(images))
    shuffled = [images[index] for index in order]
    return CalibrationImages(
        [image for index, image in enumerate(shuffled) if index % CHECK_SHARE],
        shuffled[::CHECK_SHARE],
        tuple(notes),
    )


@dataclass(frozen=True)
class TrainingImages:
    """What is known of a network's training images among those that test it."""

    #: So many were left out.
    left_out: int = 0
    #: Why others cannot be told; "" if all can.
    unknown: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values, and whether training images may be among those that test."""
        return {"left_out": self.left_out, "may_test": bool(self.unknown), "reason": self.unknown or None}


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels, as `Examples` has them; classes are the network's."""

    name: str
    images: Images
    labels: Any
    #: What was left out, each in a sentence.
    notes: tuple[str, ...] = ()
    training: TrainingImages = field(default_factory=TrainingImages)
    #: What the labels are for.
    task: str = "classification"

    def labels_of(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Any:
        """Return the labels of some images, opened: (N,) int64 of classes, else a list."""
        return LABEL_KINDS.get(self.task).batch([self.labels[int(row)] for row in rows])


def labelled(
    source: str,
    classes: int | None,
    names: Sequence[str] = (),
    progress: Progress = silent,
    task: str | None = "classification",
) -> LabelledImages:
    """Return the images that test a network: all of a folder of class folders, or a data set's test part.

    `source` is what `open_dataset` takes; of a folder with `train` and `test` or `val` inside, the latter is
    taken; of what brings no parts, all. Class folders are matched to `names`, the network's labels, by name,
    or by number. Where the network has no labels, the folders in sorted order are the classes, which then
    must be as many as the network has, if that is known. `task` is what the labels have to be for; None for
    any. Raises DataError.
    """
    root = Path(source)
    if task not in ("classification", None) or not holds_class_folders(source):
        return of_dataset(open_dataset(source, whole=True, progress=progress), classes, names, task)
    parts = part_folders(root)
    root = parts.get("test") or parts.get("validation") or root
    found = list_images(root)
    # A class folder without images still has its place in the order.
    every = [listing.folder.name for listing in found.listings]
    folders = every if not names and classes in (len(every), None) else found.classes
    classes = len(folders) if classes is None else classes
    indices = _class_indices(folders, classes, names, numbered=True)
    if indices is None:
        raise DataError(
            f"{root} has {len(folders)} class folders for a network of {classes} classes, and the folder"
            f" names are not its labels ({', '.join(_strange(folders, names)[:3])})",
            hint="name the folders by label or class index, or evaluate a network that was trained on them",
        )
    index_of = dict(zip(folders, indices, strict=True))
    labels = np.array([index_of[folder] for folder in found.folders], np.int64)
    return LabelledImages(str(root), found.files, labels, tuple(found.notes))


def of_dataset(
    dataset: DataSet,
    classes: int | None,
    names: Sequence[str] = (),
    task: str | None = "classification",
) -> LabelledImages:
    """Return the test images of a data set, its classes matched to the network's, if these are known.

    `task` is what the labels have to be for; None for any. Raises DataError.
    """
    if task is not None:
        demand_task(dataset, task)
    classes = dataset.classes if classes is None else classes
    indices = _class_indices(dataset.class_names, classes, names, numbered=False)
    if indices is None:
        strange = ", ".join(_strange(dataset.class_names, names)[:3])
        raise DataError(
            f"{dataset.name} has {dataset.classes} classes, this network has {classes}"
            + (f", and they are called otherwise ({strange})" if dataset.classes == classes else ""),
            hint="evaluate a network that was trained on it",
        )
    labels = dataset.test.kind.renumbered(dataset.test.labels, indices)
    return LabelledImages(
        f"{dataset.name}, its test images", dataset.test.images, labels, dataset.notes, task=dataset.task
    )


def _strange(given: Sequence[str], names: Sequence[str]) -> list[str]:
    known = {name.lower() for name in names}
    return [name for name in given if name.lower() not in known] or list(given)


def _class_indices(
    given: Sequence[str], classes: int, names: Sequence[str], *, numbered: bool
) -> list[int] | None:
    """Return the network's class for each given name; None if they do not fit."""
    for fold in (str, str.lower):
        # Label names repeat in ImageNet ("crane" is a bird and a machine), and "A" and "a" are two classes:
        # only names that are unambiguous count.
        counts, wanted = Counter(map(fold, names)), [fold(name) for name in given]
        known = {fold(name): index for index, name in enumerate(names) if counts[fold(name)] == 1}
        if len(set(wanted)) == len(wanted) and all(name in known for name in wanted):
            return [known[name] for name in wanted]
    if numbered and all(name.isdecimal() and int(name) < classes for name in given):
        return [int(name) for name in given]
    in_order = not names or all(_SYNSET.fullmatch(name) for name in given)
    return list(range(classes)) if in_order and len(given) == classes else None
