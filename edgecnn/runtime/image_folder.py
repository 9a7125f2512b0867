"""The images of a folder, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecnn.errors import DataError
from edgecnn.files import unlike_file
from edgecnn.runtime.image_files import FORMATS_TEXT

#: File name endings of images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})

#: What systems and programs put among a user's files. Whatever begins with a dot is theirs too.
_SYSTEM = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)  # fmt: skip
#: Kinds of files, and names, that a note lists.
_NAMED = 5


@dataclass(frozen=True)
class Listing:
    """What lies in a folder and in those below it."""

    folder: Path
    #: Sorted. Links to files are followed, links to folders are not.
    images: list[Path]
    #: Files with an ending that is not read: the ending (".heic"; "" for none), and how many.
    other: Mapping[str, int] = field(default_factory=dict)
    #: Hidden folders and those of systems, sorted by name, and how many files lie below each name.
    hidden: Mapping[str, int] = field(default_factory=dict)
    #: Pipes, devices and links to nothing that are called like images.
    special: tuple[Path, ...] = ()

    @classmethod
    def sum(cls, parts: Sequence[Listing]) -> Listing:
        """Return what several folders beside each other hold together."""
        other, hidden = Counter[str](), Counter[str]()
        for part in parts:
            other.update(part.other)
            hidden.update(part.hidden)
        return cls(
            parts[0].folder.parent,
            [image for part in parts for image in part.images],
            other,
            dict(sorted(hidden.items())),
            tuple(path for part in parts for path in part.special),
        )

    @property
    def notes(self) -> list[str]:
        """What was left out, each kind in a sentence."""
        notes = []
        if self.other:
            kinds = sorted(self.other.items(), key=lambda item: (-item[1], item[0]))
            named = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in kinds[:_NAMED])
            more = f" and {len(kinds) - _NAMED} more kinds" if len(kinds) > _NAMED else ""
            total = sum(self.other.values())
            notes.append(
                f"{_files(total)} in {self.folder} left out, as only {FORMATS_TEXT} are read: {named}{more}"
            )
        if self.hidden:
            total = sum(self.hidden.values())
            notes.append(
                f"{_files(total)} in hidden and system folders of {self.folder} left out:"
                f" {', '.join(list(self.hidden)[:_NAMED])}"
            )
        if self.special:
            names = ", ".join(path.name for path in self.special[:_NAMED])
            notes.append(f"left out of {self.folder}, as they are no files: {names}")
        return notes


def list_folder(folder: str | Path) -> Listing:
    """Return what a folder holds; raises DataError if it is none, or cannot be read."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "a folder of images"
        wrong = unlike_file(folder, what) or f"a file, not {what}"
        raise DataError(f"{folder} is {wrong}", hint=f"give {what}")
    images: list[Path] = []
    special: list[Path] = []
    other: Counter[str] = Counter()
    hidden: Counter[str] = Counter()
    for place, folders, files in os.walk(folder, onerror=_refuse):
        for name in [name for name in folders if is_hidden(name)]:
            folders.remove(name)
            hidden[name] += _count_below(Path(place, name))
        for name in files:
            path = Path(place, name)
            if is_hidden(name):
                # AppleDouble files are called like the images that they describe.
                hidden[name[:2]] += path.suffix.lower() in SUFFIXES
            elif path.suffix.lower() not in SUFFIXES:
                other[path.suffix.lower()] += 1
            else:
                (images if path.is_file() else special).append(path)
    return Listing(
        folder,
        sorted(images),
        other,
        {name: hidden[name] for name in sorted(hidden) if hidden[name]},
        tuple(sorted(special)),
    )


def list_hidden(folder: Path) -> Listing:
    """Return a listing of nothing but the hidden and system folders right in a folder."""
    names = [item.name for item in folder.iterdir() if item.is_dir() and is_hidden(item.name)]
    counts = {name: _count_below(folder / name) for name in sorted(names)}
    return Listing(folder / ".", [], hidden={name: count for name, count in counts.items() if count})


def _count_below(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def find_images(folder: str | Path) -> list[Path]:
    """Return the image files below a folder, sorted; raises DataError if there are none."""
    return demand_images(list_folder(folder)).images


def demand_images(found: Listing) -> Listing:
    """Return a listing that holds images; raises DataError for one that does not."""
    if not found.images:
        raise DataError(
            f"{found.folder} holds no images",
            hint="; ".join([f"{FORMATS_TEXT} are read", *found.notes]),
        )
    return found


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name belongs to a system or a program, and is no data."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
