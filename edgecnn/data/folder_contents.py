"""What a folder of images holds, before anything is trained with it or measured on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageOps

from edgecnn.data import identity
from edgecnn.data.class_folders import part_folders
from edgecnn.data.dataset import file_size
from edgecnn.data.formats import format_of
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError
from edgecnn.figure import drawing, shorten
from edgecnn.progress import Progress, silent
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.image_folder import demand_images, list_folder

_IMAGES = "images"
#: Classes on a sheet, and images of each; side of a picture on it, in pixels.
_ROWS, _COLUMNS, _SIDE = 12, 8, 140
#: Characters of a class's name on it.
_TITLE = 90


@dataclass(frozen=True)
class Inspection:
    """A folder of images."""

    path: Path
    #: Every image below it, sorted, and the class of each (the folder's name); "" where there are no classes.
    files: list[Path]
    classes: list[str]
    #: Smallest, median and largest (width, height), by area; None if none can be read.
    sizes: tuple[tuple[int, int], ...] | None
    #: "RGB", "L" and so on, as they are when they are open: how many images.
    modes: dict[str, int]
    #: Bytes of all files.
    bytes: int
    #: Images that cannot be read: file and reason.
    broken: list[tuple[str, str]]
    #: Groups of files that hold the same picture.
    duplicates: list[list[str]]
    #: Part ("train", "validation", "test"): labels of each class, which are images, boxes, or images whose
    #: mask has the class; None where it cannot train.
    split: dict[str, dict[str, int]] | None
    #: Images of each part.
    parts: dict[str, int]
    #: What there is a number of for each class: "images", "boxes" or "masks".
    counted: str
    #: What was left out, and why it cannot train if it cannot; each in a sentence.
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return what `edgecnn info` prints with --json."""
        names = ("smallest", "median", "largest")
        return {
            "path": str(self.path),
            "n": len(self.files),
            "bytes": self.bytes,
            "classes": [{"name": name, "n": count} for name, count in self.class_counts.items()],
            "sizes": None if self.sizes is None else dict(zip(names, map(list, self.sizes), strict=True)),
            "modes": self.modes,
            "broken": [{"image": image, "reason": reason} for image, reason in self.broken],
            "duplicates": self.duplicates,
            "split": self.split,
            "parts": self.parts,
            "counted": self.counted,
            "notes": self.notes,
        }

    @property
    def class_counts(self) -> dict[str, int]:
        """How often each class is there, as `counted` says; {} where there are no classes."""
        if self.counted == _IMAGES:
            return dict(sorted(Counter(name for name in self.classes if name).items()))
        total: Counter[str] = Counter()
        for counts in (self.split or {}).values():
            total.update(counts)
        return dict(total)


def inspect(folder: str | Path, *, seed: int = 0, progress: Progress = silent) -> Inspection:
    """Decode every image below a folder, and say what there is. Raises DataError if there are none.

    `seed` is that of the split, as `edgecnn train` would make it.
    """
    root = Path(folder)
    progress(f"listing the images of {folder}")
    listing = demand_images(list_folder(root))
    files, notes = listing.images, list(listing.notes)
    stored = format_of(root)
    classes = _classes(root, files) if stored is None else [""] * len(files)
    split: dict[str, dict[str, int]] | None = None
    parts: dict[str, int] = {}
    counted = _IMAGES
    if any(classes) or stored is not None:
        try:
            dataset = open_dataset(str(root), seed=seed, progress=progress)
        except DataError as error:
            notes.append(f"cannot train as it is: {error}")
        else:
            notes = list(dataset.notes)
            split = {}
            if stored is not None:
                counted = dataset.train.kind.what
            for part in ("train", "validation", "test"):
                examples = getattr(dataset, part)
                counts = examples.kind.counts(examples.labels, dataset.classes).tolist()
                split[part] = dict(zip(dataset.class_names, counts, strict=True))
                parts[part] = len(examples)
    copies = identity.find_copies(files, [file_size(file) for file in files])
    if copies.note and copies.note not in notes:
        notes.append(copies.note)
    groups: dict[int, list[str]] = {}
    for row in copies.rows:
        first = int(copies.firsts[row])
        groups.setdefault(first, [str(files[first])]).append(str(files[row]))
    sizes, modes, broken = _looked_at(files, progress)
    return Inspection(
        root, files, classes, sizes, modes, sum(map(file_size, files)), broken, list(groups.values()), split,
        parts, counted, notes,
    )  # fmt: skip


def _classes(root: Path, files: Sequence[Path]) -> list[str]:
    """Return the class of each image, by its folder; "" for all where some lie beside the folders."""
    tops = list(part_folders(root).values()) or [root]
    found = []
    for file in files:
        top = next((top for top in tops if top in file.parents), None)
        below = file.relative_to(top).parts if top is not None else ()
        found.append(below[0] if len(below) > 1 else "")
    return found if all(found) else [""] * len(files)


def _looked_at(
    files: Sequence[Path], progress: Progress
) -> tuple[tuple[tuple[int, int], ...] | None, dict[str, int], list[tuple[str, str]]]:
    """Return sizes, modes, and what cannot be read, of all images: each is decoded."""

    def look(file: Path) -> tuple[tuple[int, int], str] | str:
        try:
            picture = open_image(file)
        except DataError as error:
            return str(error)
        return picture.size, picture.mode

    sizes: list[tuple[int, int]] = []
    modes: Counter[str] = Counter()
    broken: list[tuple[str, str]] = []
    with ThreadPoolExecutor(thread_name_prefix="edgecnn-inspect") as pool:
        for number, (file, seen) in enumerate(zip(files, pool.map(look, files), strict=True)):
            progress(f"images: {100 * number // len(files)} %")
            if isinstance(seen, str):
                broken.append((str(file), seen))
            else:
                sizes.append(seen[0])
                modes[seen[1]] += 1
    sizes.sort(key=lambda size: (size[0] * size[1], size))
    return (sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else None, dict(modes), broken


def draw_sheet(found: Inspection, path: Path, *, seed: int = 0) -> None:
    """Write a sheet of images drawn by `seed`: a row for each class, of at most twelve.

    Raises MissingPackageError without matplotlib, DataError if no image can be read.
    """
    counts = found.class_counts if found.counted == _IMAGES else {}
    names = list(counts)[:_ROWS] or [""]
    title = f"{found.path}: {len(found.files)} images"
    if counts:
        title += f" of {len(counts)} classes" + (f", the first {_ROWS}" if len(counts) > _ROWS else "")
    rng = np.random.default_rng(seed)
    broken = {image for image, _ in found.broken}
    with drawing(path, title, 1.2 * _COLUMNS, 1.4 * len(names) + 0.5) as figure:
        grid = figure.subplots(len(names), _COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, name in zip(grid, names, strict=True):
            own = [
                file
                for file, label in zip(found.files, found.classes, strict=True)
                if label == name and str(file) not in broken
            ]
            chosen = np.sort(rng.permutation(len(own))[:_COLUMNS])
            if name:
                written = f"{shorten(name, _TITLE)} ({counts[name]})"
                # A title as wide as its row would make its column as wide: an empty one keeps the place.
                row[0].set_title(" ", fontsize=9)
                label = row[0].annotate(
                    written, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points"
                )
                label.set_in_layout(False)
            for axes, index in zip(row, chosen, strict=False):
                axes.imshow(_thumbnail(own[index]))


def _thumbnail(file: Path) -> npt.NDArray[np.uint8]:
    """Return a picture in the middle of a white square, (side, side, 3)."""
    picture = ImageOps.pad(open_image(file).convert("RGB"), (_SIDE, _SIDE), color="white")
    return np.asarray(picture)
