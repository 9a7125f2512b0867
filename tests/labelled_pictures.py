"""A small set of pictures with boxes and masks, written in the formats that people have."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cat", "dog")
#: Height and width of a picture.
HIGH, WIDE = 24, 40


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (HIGH, WIDE, 3), np.uint8)


def corners(number: int) -> list[tuple[int, int, int, int, int]]:
    """Return x0, y0, x1, y1, class of the objects of a picture; every fifth picture has none."""
    if number % 5 == 4:
        return []
    x, y = 1 + number % 7, 2 + number % 5
    found = [(x, y, x + 12, y + 8, number % 2)]
    return [*found, (x + 15, y, x + 20, y + 10, 1)] if number % 3 == 0 else found


def mask(number: int) -> np.ndarray:
    """Return 0 for the background, 1 and 2 for the classes, 255 on a border, (HIGH, WIDE)."""
    found = np.zeros((HIGH, WIDE), np.uint8)
    for x0, y0, x1, y1, label in corners(number):
        found[y0:y1, x0:x1] = 1 + label
        found[y0, x0:x1] = 255
    return found


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


def coco_document(numbers) -> dict:
    return {
        "images": [{"id": 100 + n, "file_name": f"{n}.png", "height": HIGH, "width": WIDE} for n in numbers],
        "annotations": [
            {"id": 0, "image_id": 100 + n, "category_id": 7 + 3 * label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for n in numbers
            for x0, y0, x1, y1, label in corners(n)
        ],
        "categories": [{"id": 10, "name": "dog"}, {"id": 7, "name": "cat"}],
    }


def write_coco(root: Path, parts: dict[str, range]) -> Path:
    for part, numbers in parts.items():
        write(root / f"annotations/instances_{part}2017.json", json.dumps(coco_document(numbers)))
        for n in numbers:
            write(root / f"{part}2017/{n}.png", png(pixels(n)))
    return root


def yolo_lines(number: int) -> str:
    lines = [
        f"{label} {(x0 + x1) / 2 / WIDE} {(y0 + y1) / 2 / HIGH} {(x1 - x0) / WIDE} {(y1 - y0) / HIGH}"
        for x0, y0, x1, y1, label in corners(number)
    ]
    return "\n".join(lines)


def write_yolo(root: Path, parts: dict[str, range]) -> Path:
    for part, numbers in parts.items():
        for n in numbers:
            write(root / f"images/{part}/{n}.png", png(pixels(n)))
            write(root / f"labels/{part}/{n}.txt", yolo_lines(n))
    folders = "".join(f"{part}: images/{part}\n" for part in parts)
    write(root / "data.yaml", f"path: /elsewhere\n{folders}names: {{0: cat, 1: dog}}\n")
    return root


def voc_document(number: int) -> str:
    objects = "".join(
        f"<object><name>{NAMES[label]}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin>"
        f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1, label in corners(number)
    )
    size = f"<size><width>{WIDE}</width><height>{HIGH}</height><depth>3</depth></size>"
    return f"<annotation><filename>{number}.png</filename>{size}{objects}</annotation>"


def write_voc(root: Path, parts: dict[str, range]) -> Path:
    for part, numbers in parts.items():
        write(root / f"ImageSets/Main/{part}.txt", "".join(f"{n}\n" for n in numbers))
        for n in numbers:
            write(root / f"JPEGImages/{n}.png", png(pixels(n)))
            write(root / f"Annotations/{n}.xml", voc_document(n))
    return root


def write_masks(root: Path, parts: dict[str, range]) -> Path:
    for part, numbers in parts.items():
        for n in numbers:
            write(root / f"{part}/images/{n}.png", png(pixels(n)))
            write(root / f"{part}/masks/{n}.png", png(mask(n)))
    write(root / "classes.txt", "nothing\ncat\ndog\n")
    return root
