"""YOLO's text files: data.yaml, folders of images, and beside each, labels/, a text file for every image."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import yaml

from edgecnn import core_yaml
from edgecnn.data.assemble import assemble
from edgecnn.data.box_files import Described, class_numbers, examples
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.data.formats import YOLO_FILES, place_of
from edgecnn.data.label_faults import Faults, demand_boxes
from edgecnn.data.split import PART_NAMES, Split
from edgecnn.errors import DataError
from edgecnn.files import unlike_file
from edgecnn.progress import Progress
from edgecnn.runtime.image_folder import list_folder

_HINT = "expected: names: [cat, dog], and train: and val: with folders of images"
#: Bytes of a text file of labels, or of a list of images, that are read.
_LONGEST = 1 << 26


def open_yolo(name: str, split: Split, progress: Progress) -> DataSet:
    """Open a data.yaml, or a folder that holds one; labels lie in labels/ where images lie in images/.

    A line is a class and either a box (centre, width, height) or a polygon, in shares of the picture's
    sides. An image without a text file has no objects, and a note counts these. Raises DataError.
    """
    place = place_of(name)
    file = place if place.is_file() else next((place / n for n in YOLO_FILES if (place / n).is_file()), None)
    if file is None:
        raise DataError(f"{place} holds no {YOLO_FILES[0]}", hint=_HINT)
    document = _read(file)
    names = _names(document, file)
    class_numbers(names, name)
    faults = Faults()
    given: dict[str, Examples] = {}
    places = _places(document, file)
    root = Path(
        os.path.commonpath([_root(document, file), *(item for own in places.values() for item in own)])
    )
    for part, own in places.items():
        progress(f"reading the labels of the part {part}")
        images = [image for item in own for image in _images(item)]
        given[part] = examples([_described(item, len(names), faults) for item in images], root, faults)
    demand_boxes(name, given["train"].labels, faults)
    return assemble(name, root, names, given, split, faults.notes)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = core_yaml.load(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{file} is no YAML: {' '.join(str(error).split())[:200]}", hint=_HINT) from error
    if not isinstance(document, dict):
        raise DataError(f"{file} describes no data set", hint=_HINT)
    return document


def _names(document: dict[str, Any], file: Path) -> list[str]:
    """Return the classes: of a list as they stand, of a mapping by their numbers."""
    names = document.get("names")
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file} does not name the classes", hint=_HINT)
    if document.get("nc") not in (None, len(names)):
        raise DataError(f"{file} says nc: {document['nc']} and has {len(names)} names", hint=_HINT)
    return [str(item) for item in names]


def _root(document: dict[str, Any], file: Path) -> Path:
    said = document.get("path")
    root = file.parent / said if isinstance(said, str) else file.parent
    root = root if root.is_dir() else file.parent  # as it was on the machine of whoever wrote it
    return Path(os.path.abspath(root))


def _texts(value: Any, file: Path) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{file} gives no folder of images", hint=_HINT)
    return texts


def _places(document: dict[str, Any], file: Path) -> dict[str, list[Path]]:
    """Return the folders of images of each part, or the text files that list them. Raises DataError."""
    root = _root(document, file)
    found: dict[str, list[Path]] = {}
    for part, keys in PART_NAMES.items():
        value = next((document[key] for key in keys if document.get(key)), None)
        if value is None:
            continue
        found[part] = []
        for text in _texts(value, file):
            tries = [Path(os.path.normpath(root / item)) for item in (text, text.removeprefix("../"))]
            place = next((item for item in tries if item.is_dir() or not unlike_file(item)), None)
            if place is None:
                raise DataError(f"{file} names {text}, which is not there", hint=f"looked for {tries[0]}")
            found[part].append(place)
    if "train" not in found:
        raise DataError(f"{file} does not say where the images to train with lie", hint=_HINT)
    return found


def _images(place: Path) -> list[Path]:
    """Return the images of a folder, or of a text file that lists them."""
    if place.is_dir():
        return list_folder(place).images
    lines = _content(place).splitlines()
    return [place.parent / line.strip() for line in lines if line.strip()]


def _content(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_LONGEST).decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def label_file(image: Path) -> Path:
    """Return where the labels of an image lie: labels/ in place of the last images/, else beside it."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _described(image: Path, classes: int, faults: Faults) -> Described:
    """Return the boxes of an image, in shares of its sides."""
    found = Described(image, relative=True)
    file = label_file(image)
    if unlike_file(file):
        faults.add("images without a text file of labels, taken to show no object", image.name)
        return found
    for number, line in enumerate(_content(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *values = [float(text) for text in line.split()]
        except ValueError:
            label, values = math.nan, []
        corners = _corners(values)
        if corners is None:
            faults.add("lines left out that are no class and box", f"{file.name}:{number}")
            continue
        known = math.isfinite(label) and label == int(label) and 0 <= label < classes
        found.add(corners, int(label) if known else -1)
    return found


def _corners(values: list[float]) -> tuple[float, float, float, float] | None:
    """Return the corners of a centre and sides (and a score, which is not read), or around a polygon."""
    if len(values) in (4, 5):
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    return None
