"""Folders of images and of mask images, whose names match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecnn.data.assemble import assemble
from edgecnn.data.box_files import sizes
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.data.formats import MASK_FOLDERS, place_of
from edgecnn.data.label_faults import Faults
from edgecnn.data.mask_files import Colour, MaskFiles, values_in
from edgecnn.data.split import PART_NAMES, Split
from edgecnn.data.voc import image_sets
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.runtime.image_folder import list_folder
from edgecnn.tasks.view import IGNORED

_HINT = "expected: images/NAME.jpg and masks/NAME.png, and in classes.txt a name in each line"
#: What a mask may be called after its image's name.
_ENDINGS = ("", "_mask", "-mask", "_gt", "_labels")
_NAME_AND_COLOUR = re.compile(r"(.+?)\s*[:\s]\s*(\d{1,3})[,\s]+(\d{1,3})[,\s]+(\d{1,3})\s*(:.*)?")


@dataclass(frozen=True)
class _Classes:
    """What is known of the classes before a mask is opened."""

    names: tuple[str, ...] = ()
    colours: dict[Colour, int] = field(default_factory=dict)


def open_mask_folders(name: str, split: Split, progress: Progress) -> DataSet:
    """Open images/ and masks/ (or JPEGImages/ and SegmentationClass/), divided by folders or by ImageSets.

    The classes are the lines of classes.txt or labelmap.txt. Without one the values in the masks are the
    classes, called by their numbers; of masks that are 0 and 255 alone, 255 is the class 1. Raises DataError.
    """
    root = place_of(name)
    progress(f"listing the masks of {name}")
    faults = Faults()
    pairs = {part: _matched(images, masks, faults) for part, (images, masks) in _folders(root).items()}
    if pairs.keys() == {"train"} and (parts := image_sets(root, "Segmentation")):
        pairs = _divided(pairs["train"], parts, faults)
    pairs = {part: _of_one_size(items, faults) for part, items in pairs.items()}
    if not pairs["train"]:
        raise DataError(f"{name} has no image with a mask", hint="; ".join([_HINT, *faults.notes]))
    classes = _classes(root)
    values: dict[int, int] = {}
    if not classes.names:
        progress(f"looking for the classes in the masks of {name}")
        every = [mask for items in pairs.values() for _, mask in items]
        classes, values = _in_masks(every)
    given = {
        part: Examples(
            [image for image, _ in items],
            MaskFiles([mask for _, mask in items], len(classes.names), classes.colours, values),
            "segmentation",
        )
        for part, items in pairs.items()
    }
    return assemble(name, root, classes.names, given, split, faults.notes)


def _folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folder of images and the one of masks for each part."""
    for images, masks in MASK_FOLDERS:
        if not (root / images).is_dir() and not any((root / word / images).is_dir() for word in _WORDS):
            continue
        found: dict[str, tuple[Path, Path]] = {}
        for part, words in PART_NAMES.items():
            for word in words:
                for pair in (
                    (root / word / images, root / word / masks),
                    (root / images / word, root / masks / word),
                ):
                    if all(folder.is_dir() for folder in pair):
                        found[part] = pair
        return found if "train" in found else {"train": (root / images, root / masks)}
    raise DataError(f"{root} holds no images and masks", hint=_HINT)


_WORDS = [word for words in PART_NAMES.values() for word in words]

_Pair = tuple[Path, Path]


def _matched(images: Path, masks: Path, faults: Faults) -> list[_Pair]:
    """Return each image with its mask, by their paths inside of the folders."""
    there = {file.relative_to(masks).with_suffix("").as_posix(): file for file in list_folder(masks).images}
    found: list[_Pair] = []
    for image in list_folder(images).images:
        stem = image.relative_to(images).with_suffix("").as_posix()
        key = next((stem + ending for ending in _ENDINGS if stem + ending in there), None)
        if key is None:
            faults.add("images left out without a mask", image.name)
        else:
            found.append((image, there.pop(key)))
    for file in there.values():
        faults.add("masks left out without an image", file.name)
    return found


def _divided(pairs: Sequence[_Pair], parts: dict[str, list[str]], faults: Faults) -> dict[str, list[_Pair]]:
    by_stem = {image.stem: (image, mask) for image, mask in pairs}
    for stem in (stem for stems in parts.values() for stem in stems if stem not in by_stem):
        faults.add("listed images left out without a mask", stem)
    return {part: [by_stem[stem] for stem in stems if stem in by_stem] for part, stems in parts.items()}


def _of_one_size(pairs: Sequence[_Pair], faults: Faults) -> list[_Pair]:
    """Return the pairs of one size. What cannot be read stays: the loader lists it."""
    found = []
    for pair, image, mask in zip(
        pairs, sizes([image for image, _ in pairs]), sizes([mask for _, mask in pairs]), strict=True
    ):
        if image is not None and mask is not None and image != mask:
            faults.add("images left out whose mask has another size", f"{pair[0].name}: {image} and {mask}")
        else:
            found.append(pair)
    return found


def _classes(root: Path) -> _Classes:
    """Return the classes of classes.txt (NAME, or NAME RED GREEN BLUE) or of labelmap.txt (NAME:R,G,B::)."""
    file = next((root / name for name in ("classes.txt", "labelmap.txt") if (root / name).is_file()), None)
    if file is None:
        return _Classes()
    names: list[str] = []
    colours: dict[Colour, int] = {}
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if said := _NAME_AND_COLOUR.fullmatch(line.strip()):
            colours[(int(said[2]), int(said[3]), int(said[4]))] = len(names)
        names.append((said[1] if said else line).strip())
    if len(set(names)) < len(names) or not names:
        raise DataError(f"{file} does not give every class a name of its own", hint=_HINT)
    return _Classes(tuple(names), colours)


def _in_masks(masks: Sequence[Path]) -> tuple[_Classes, dict[int, int]]:
    """Return the classes whose values are in masks, and what values stand for. Raises DataError."""
    present = values_in(masks)
    if present == {0, IGNORED}:
        return _Classes(("0", "1")), {IGNORED: 1}
    return _Classes(tuple(map(str, range(max(2, max(present, default=0) + 1))))), {}
