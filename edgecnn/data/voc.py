"""Pascal VOC's XML: Annotations/, JPEGImages/ and, for the parts, ImageSets/."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

from edgecnn.data import strict_xml
from edgecnn.data.assemble import assemble
from edgecnn.data.box_files import Described, class_numbers, examples
from edgecnn.data.dataset import DataSet
from edgecnn.data.formats import place_of
from edgecnn.data.label_faults import Faults, demand_boxes
from edgecnn.data.split import PART_NAMES, Split
from edgecnn.errors import DataError
from edgecnn.image_size import Size
from edgecnn.progress import Progress
from edgecnn.runtime.image_folder import list_folder

_HINT = "expected: Annotations/NAME.xml and JPEGImages/NAME.jpg"
#: Of an object in an XML file: its class, its corners, and whether it is difficult.
_Object = tuple[str, tuple[float, float, float, float], bool]


def open_voc(name: str, split: Split, progress: Progress) -> DataSet:
    """Open a folder in VOC's layout. Classes are the names of objects that train, sorted.

    VOC counts pixels from 1, the last one included. Objects that are `difficult` are kept as a crowd is:
    they count neither as found nor as missed. Raises DataError.
    """
    root = place_of(name)
    progress(f"reading the labels of {name}")
    images = {image.stem: image for image in list_folder(root / "JPEGImages").images}
    annotations = {file.stem: file for file in sorted((root / "Annotations").glob("*.xml")) if file.is_file()}
    faults = Faults()
    parts = image_sets(root, "Main") or {"train": sorted(annotations)}
    if parts.keys() == {"train"}:
        for stem in sorted(images.keys() - annotations.keys()):
            faults.add("images left out without an XML file", images[stem].name)
    read: dict[str, list[tuple[Described, list[_Object]]]] = {}
    for part, stems in parts.items():
        read[part] = []
        for stem in stems:
            image = images.get(stem, root / "JPEGImages" / f"{stem}.jpg")
            if stem not in annotations:
                faults.add("images left out without an XML file", image.name)
                continue
            read[part].append(_read(annotations[stem], image, faults))
    names = sorted({label for _, objects in read["train"] for label, _, _ in objects})
    number = class_numbers(names, name) if names else lambda text: -1
    for described, objects in (item for items in read.values() for item in items):
        for label, corners, difficult in objects:
            described.add(corners, number(label), difficult)
    given = {part: examples([item for item, _ in items], root, faults) for part, items in read.items()}
    demand_boxes(name, given["train"].labels, faults)
    return assemble(name, root, names, given, split, faults.notes)


def image_sets(root: Path, kind: str) -> dict[str, list[str]]:
    """Return the names of each part's images, of ImageSets/KIND; {} where nothing is said."""
    found: dict[str, list[str]] = {}
    for part, words in PART_NAMES.items():
        files = [root / "ImageSets" / kind / f"{word}.txt" for word in words]
        file = next((file for file in files if file.is_file()), None)
        if file is not None:
            found[part] = _stems(file)
    both = root / "ImageSets" / kind / "trainval.txt"
    if "train" not in found and both.is_file():
        found["train"] = _stems(both)
    return found if "train" in found else {}


def _stems(file: Path) -> list[str]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    # Of files for one class, a second column says whether it is there.
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


def _read(file: Path, image: Path, faults: Faults) -> tuple[Described, list[_Object]]:
    """Return what an XML file says of its image. Raises DataError for one that is damaged."""
    try:
        top = strict_xml.parse(file)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(
            f"{file} cannot be read: {error}", hint="mend it or remove it and its image"
        ) from error
    if top.tag != "annotation":
        raise DataError(f"{file} is no description of a picture: <{top.tag}>", hint=_HINT)
    objects: list[_Object] = []
    for item in top.findall("object"):
        corners = [_number(item.find(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        label = (item.findtext("name") or "").strip()
        if None in corners or not label:
            faults.add("objects left out without a name and four numbers", file.name)
            continue
        left, top_edge, right, bottom = (value for value in corners if value is not None)
        difficult = (item.findtext("difficult") or "").strip() == "1"
        objects.append((label, (left - 1, top_edge - 1, right, bottom), difficult))
    return Described(image, size=_size(top)), objects


def _number(element: ET.Element | None) -> float | None:
    """Return what an element says, which may be no finite number; None where it says nothing."""
    if element is None or not element.text:
        return None
    try:
        return float(element.text)
    except ValueError:
        return None


def _size(top: ET.Element) -> Size | None:
    """Return the size that is said; some programs say 0."""
    height, width = (_number(top.find(f"size/{key}")) for key in ("height", "width"))
    if height is None or width is None or not math.isfinite(height + width) or min(height, width) < 1:
        return None
    return Size(int(height), int(width))
