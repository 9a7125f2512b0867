"""`predict --draw`: a copy of each picture with what was found in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    from edgecnn.runtime import Engine


def check(engine: Engine, folder: Path, images: Sequence[str]) -> None:
    """Make a folder for pictures.

    Raises InvalidValueError for a network whose answers have no place in a picture and for a folder in which
    images lie, and OutputError.
    """
    if not engine.task.draws:
        raise InvalidValueError(
            f"what {engine.path.name} answers has no place in a picture", hint="leave out --draw"
        )
    if any(Path(image).resolve().parent == folder.resolve() for image in images):
        raise InvalidValueError(
            f"--draw {folder} is where the images lie, which would be mixed with their copies",
            hint="give another folder",
        )
    files.make_folder(folder, "give a folder that can be written to")


def places(folder: Path, images: Sequence[str]) -> list[Path]:
    """Return every file that `draw` may write for images, of which some may have no answer."""
    found: list[Path] = []
    for image in images:
        found.append(_free(folder, Path(image).stem, found))
    return found


def draw(engine: Engine, answers: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG file for each image that has an answer, and return where; raises OutputError."""
    from edgecnn.runtime.image_files import open_image

    written: list[Path] = []
    for image, answer in answers.items():
        content = io.BytesIO()
        engine.task.drawn(open_image(image), answer).save(content, "PNG")
        written.append(_free(folder, Path(image).stem, written))
        files.write_atomic(written[-1], content.getvalue())
    return written


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """Return a name that none of this run's files has: images of several folders may be called alike."""
    path, number = folder / f"{stem}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}_{number}.png"
    return path
