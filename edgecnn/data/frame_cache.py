"""Decoded images on disk: what an evaluation decoded, the next one only reads.

An image is known by the content of its file, so that one that is changed is decoded again, and copies and
moved folders are recognised.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from edgecnn import files
from edgecnn.errors import DataError, OutputError
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import BACKGROUND, ImageLike, read_file
from edgecnn.runtime.preprocessing import Preprocessing


class FrameCache:
    """Frames, as `Preprocessing.frame` returns them, one file each. Threads and processes may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or files.cache_folder() / "frames"
        #: Frames that were found, and that had to be decoded.
        self.found = self.decoded = 0
        self._lock = threading.Lock()

    def frame(self, image: ImageLike, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        """Return `prepare.frame(preprocessing, image)`, (H, W, C) uint8, from the cache if it is there.

        Images that are no files are in memory already, and are not kept. Raises DataError as `frame` does,
        OutputError if the cache cannot be written.
        """
        content = _content(image)
        if content is None:
            return prepare.frame(preprocessing, image)
        shape = (*preprocessing.size, preprocessing.channels)
        path = self._path(content, preprocessing)
        try:
            pixels = np.fromfile(path, np.uint8)
        except OSError:
            pixels = np.empty(0, np.uint8)
        # A power cut may leave a file without content: see `write_atomic`.
        if pixels.size == np.prod(shape):
            with self._lock:
                self.found += 1
            return pixels.reshape(shape)
        frame = prepare.frame(preprocessing, image)
        self._keep(path, frame)
        with self._lock:
            self.decoded += 1
        return frame

    def _path(self, content: bytes, preprocessing: Preprocessing) -> Path:
        digest = hashlib.sha256(content)
        # All that a frame depends on; another Pillow may decode and resize otherwise.
        plain = (0.0,) * preprocessing.channels, (1.0,) * preprocessing.channels
        geometry = dataclasses.replace(preprocessing, pixels=1, mean=plain[0], std=plain[1])
        digest.update(f"{geometry!r} {BACKGROUND} {PIL.__version__}".encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / name

    def _keep(self, path: Path, frame: npt.NDArray[np.uint8]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot keep decoded images in {self.folder}: {error.strerror}", hint="set XDG_CACHE_HOME"
            ) from error
        files.write_atomic(path, frame.tobytes(), durable=False)


def _content(image: ImageLike) -> bytes | None:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | Path):
        return None
    try:
        return read_file(image)
    except DataError:
        return None  # `Preprocessing.frame` says what is wrong with it
