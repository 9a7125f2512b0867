"""The formats in which data sets lie in folders: a row for each, and which one a folder is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import DataError
from edgecnn.registry import Registry


@dataclass(frozen=True)
class Format:
    """A row: a way in which images and their labels are stored."""

    name: str
    #: For people: what a folder of it holds.
    layout: str
    #: Who opens it, as "module:function"; it gets a name as the user gave it, and the folder or the file.
    opener: str
    #: Whether a folder, or a file, is in it. Nothing is opened for that.
    recognises: Callable[[Path], bool]


def _is_coco(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() == ".json"
    return any(path.glob("annotations/*.json")) or any(path.glob("*/_annotations.coco.json"))


def _is_yolo(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() in (".yaml", ".yml")
    return any((path / name).is_file() for name in YOLO_FILES)


def _is_voc(path: Path) -> bool:
    return _holds(path, "Annotations", "JPEGImages") and any((path / "Annotations").glob("*.xml"))


def _is_masks(path: Path) -> bool:
    places = (path, path / "train")
    return any(_holds(place, *pair) for place in places for pair in MASK_FOLDERS) or any(
        (path / images / "train").is_dir() and (path / masks / "train").is_dir()
        for images, masks in MASK_FOLDERS
    )


def _holds(path: Path, *names: str) -> bool:
    return all((path / name).is_dir() for name in names)


#: What YOLO's description of a data set is called in its folder.
YOLO_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
#: Folders of images and of their masks, which lie beside each other.
MASK_FOLDERS = (("images", "masks"), ("JPEGImages", "SegmentationClass"))

FORMATS: Registry[Format] = Registry("format of a data set")
for _row in (
    Format(
        "coco", "annotations/instances_*.json and images", "edgecnn.data.coco:open_coco", _is_coco
    ),
    Format("yolo", "data.yaml, images/ and labels/*.txt", "edgecnn.data.yolo:open_yolo", _is_yolo),
    Format("voc", "JPEGImages/ and Annotations/*.xml", "edgecnn.data.voc:open_voc", _is_voc),
    Format("masks", "images/ and masks/", "edgecnn.data.mask_folders:open_mask_folders", _is_masks),
):  # fmt: skip
    FORMATS.add(_row.name, _row)


def format_of(path: Path) -> Format | None:
    """Return the format of a folder or a file; None for class folders. Raises DataError if it may be two."""
    found = [row for row in FORMATS if row.recognises(path)]
    if len(found) > 1:
        raise DataError(
            f"{path} holds {' and '.join(row.layout for row in found)}",
            hint="say which is meant: " + " or ".join(f"{row.name}:{path}" for row in found),
        )
    return found[0] if found else None


def place_of(name: str) -> Path:
    """Return the folder or the file of a data set, whose name may say the format."""
    said = named(name)
    return said[1] if said and not Path(name).exists() else Path(name)


def named(name: str) -> tuple[Format, Path] | None:
    """Return the format and the place that a name like `coco:FOLDER` says; None for any other."""
    prefix, colon, place = name.partition(":")
    return (FORMATS.get(prefix), Path(place)) if colon and prefix in FORMATS.names() else None
