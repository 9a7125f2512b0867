"""COCO's JSON: a file for each part, which lists images, boxes and categories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecnn import strict_json
from edgecnn.data.assemble import assemble
from edgecnn.data.box_files import Described, class_numbers, examples
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.data.formats import place_of
from edgecnn.data.label_faults import Faults, demand_boxes
from edgecnn.data.split import PART_NAMES, Split
from edgecnn.errors import DataError
from edgecnn.files import unlike_file
from edgecnn.image_size import Size
from edgecnn.progress import Progress

_HINT = "expected: COCO's keys images, annotations and categories"
#: What Roboflow calls the file in the folder of each part.
_IN_PART = "_annotations.coco.json"
#: Listed images that are looked for to find the folder of them all.
_LOOKED_FOR = 20


def open_coco(name: str, split: Split, progress: Progress) -> DataSet:
    """Open a COCO file, or a folder with annotations/instances_train2017.json and so on, and train2017/.

    Classes are the categories in the order of their ids; `iscrowd` marks a crowd. Raises DataError.
    """
    place = place_of(name)
    parts = _parts(place)
    root = place if place.is_dir() else _root(place)
    faults, names = Faults(), None
    given: dict[str, Examples] = {}
    for part, file in parts.items():
        progress(f"reading {file}")
        document = _read(file)
        categories = _categories(document, file)
        own = [categories[key] for key in sorted(categories)]
        if names is not None and own != names:
            raise DataError(f"{file} has other categories than the part train", hint=_HINT)
        names = own
        described = _described(document, file, root, sorted(categories), faults)
        given[part] = examples(described, root, faults)
    class_numbers(names or [], name)
    demand_boxes(name, given["train"].labels, faults)
    return assemble(name, root, names or [], given, split, faults.notes)


def _parts(place: Path) -> dict[str, Path]:
    """Return the file of each part; raises DataError if one has two, or none trains."""
    if place.is_file():
        return {"train": place}
    files = sorted(place.glob("annotations/*.json"))
    files = [file for file in files if file.stem.startswith("instances")] or files
    files = [file for file in [*files, *sorted(place.glob(f"*/{_IN_PART}"))] if file.is_file()]
    found: dict[str, Path] = {}
    for file in files:
        word = file.parent.name if file.name == _IN_PART else file.stem.rpartition("_")[2]
        part = _part(re.sub(r"\d+$", "", word).lower())
        if part in found:
            raise DataError(
                f"{found[part]} and {file} are both the part {part}", hint="give one of the files"
            )
        if part is not None:
            found[part] = file
    if not found and len(files) == 1:
        return {"train": files[0]}
    if "train" not in found:
        raise DataError(
            f"{place} has no file of annotations to train with",
            hint="expected: annotations/instances_train.json; or give one file",
        )
    return found


def _part(word: str) -> str | None:
    return next((part for part, names in PART_NAMES.items() if word in names), None)


def _root(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _read(file: Path) -> dict[str, Any]:
    try:
        document = strict_json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {str(error)[:200]}", hint=_HINT) from error
    keys = ("images", "annotations", "categories")
    rows = [document.get(key) if isinstance(document, dict) else None for key in keys]
    for key, items in zip(keys, rows, strict=True):
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise DataError(f"{file} has no list of {key}", hint=_HINT)
    return dict(zip(keys, rows, strict=True))


def _categories(document: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Return the name of each category by its id."""
    found: dict[int, str] = {}
    for item in document["categories"]:
        key, text = item.get("id"), item.get("name")
        if type(key) is not int or not isinstance(text, str) or key in found:
            raise DataError(f"{file} has a category without an id and a name of its own", hint=_HINT)
        found[key] = text
    return found


def _described(
    document: Mapping[str, Any], file: Path, root: Path, categories: list[int], faults: Faults
) -> list[Described]:
    """Return what a file says of each image."""
    listed = document["images"]
    for item in listed:
        if not isinstance(item.get("file_name"), str) or type(item.get("id")) is not int:
            raise DataError(f"{file} has an image without an id and a file_name", hint=_HINT)
    folder = _images_folder(file, root, [item["file_name"] for item in listed[:_LOOKED_FOR]])
    found = {item["id"]: Described(folder / item["file_name"], size=_size(item)) for item in listed}
    if len(found) < len(listed):
        raise DataError(f"{file} has two images of one id", hint=_HINT)
    numbers = {key: index for index, key in enumerate(categories)}
    for item in document["annotations"]:
        image, box = item.get("image_id"), item.get("bbox")
        if type(image) is not int or image not in found:
            faults.add("boxes left out of images that are not listed", f"annotation {item.get('id')}")
        elif not _is_box(box):
            faults.add("annotations left out whose bbox is not four numbers", found[image].file.name)
        else:
            label = item.get("category_id")
            number = numbers.get(label, -1) if type(label) is int else -1
            x, y, width, height = map(float, box)
            found[image].add((x, y, x + width, y + height), number, crowd=item.get("iscrowd") == 1)
    return list(found.values())


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in box)
        and all(abs(value) < 1e15 for value in box)
    )


def _size(item: Mapping[str, Any]) -> Size | None:
    height, width = item.get("height"), item.get("width")
    return Size(height, width) if type(height) is int and type(width) is int and height and width else None


def _images_folder(file: Path, root: Path, names: list[str]) -> Path:
    """Return the folder in which images lie, by where the first listed ones are."""
    word = file.stem.rpartition("_")[2]
    places = [root / word, root / "images" / word, root / "images", file.parent / "images", file.parent, root]
    for place in places:
        if not all(unlike_file(place / name) for name in names):
            return place
    looked = ", ".join(dict.fromkeys(str(place) for place in places))
    raise DataError(f"the images of {file} are not there", hint=f"looked for in {looked}")
