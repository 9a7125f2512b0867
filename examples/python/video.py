"""Classify a video, always its newest frame: python video.py MODEL SOURCE

SOURCE is a folder of frames, an animated GIF, or with OpenCV installed a video file, a stream's address or
the number of a camera. Frames come at their own pace. Those that arrive while the engine works are dropped
for the newest, so that what is printed is never older than one inference.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgecnn.errors import DataError, EdgecnnError
from edgecnn.runtime import Engine, load, open_image
from edgecnn.runtime.image_files import open_frames
from edgecnn.runtime.image_folder import find_images

Frame = np.ndarray  # (height, width, 3) uint8, RGB


class Newest:
    """A place for one frame: a writer replaces what nobody has taken yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Leave a frame; one that is still there is dropped."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def close(self) -> None:
        """Say that no frame follows."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> Frame | None:
        """Wait for a frame and take it; None after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed)
            frame, self._frame = self._frame, None
            return frame


def frames(source: str, fps: float) -> Iterator[Frame]:
    """Yield the frames of a source at its own pace; `fps` is that of a folder, which has none."""
    if Path(source).is_dir():
        for path in find_images(source):
            yield np.asarray(open_image(path).convert("RGB"))
            time.sleep(1 / fps)
    elif source.lower().endswith(".gif"):
        for picture, shown in open_frames(source):
            yield np.asarray(picture.convert("RGB"))
            time.sleep(shown)
    else:
        yield from opencv_frames(source)


def opencv_frames(source: str) -> Iterator[Frame]:
    """Yield the frames of a video file, a stream or a camera, as OpenCV reads them."""
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            f"reading {source} needs OpenCV", hint="pip install opencv-python, or give a GIF or a folder"
        ) from error
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise DataError(f"OpenCV cannot open {source}", hint="check the path, or the camera's number")
    live = source.isdigit() or "://" in source  # a file is read as fast as it decodes, so it is held back
    pause = 0 if live else 1 / (capture.get(cv2.CAP_PROP_FPS) or 30)
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV's order is BGR
            time.sleep(pause)
    finally:
        capture.release()


def watch(engine: Engine, source: str, fps: float) -> None:
    """Print the class of the newest frame until the source ends."""
    newest, failed = Newest(), []

    def read() -> None:
        try:
            for frame in frames(source, fps):
                newest.put(frame)
        except (EdgecnnError, OSError) as error:
            failed.append(error)
        finally:
            newest.close()

    threading.Thread(target=read, daemon=True).start()
    start, count = time.perf_counter(), 0
    while (frame := newest.take()) is not None:
        best = engine.predict(frame, top=1)[0][0]
        count += 1
        rate = count / (time.perf_counter() - start)
        print(
            f"{rate:6.1f} fps  {newest.dropped:4} dropped  {best.label} ({best.probability:.1%})", flush=True
        )
    if failed:
        raise failed[0]


def main() -> None:
    """Parse the command line and watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("--fps", type=float, default=30, help="frames a second of a folder")
    arguments = parser.parse_args()
    if arguments.fps <= 0:
        parser.error("--fps is above 0")
    try:
        with load(arguments.model) as engine:
            watch(engine, arguments.source, arguments.fps)
    except (EdgecnnError, OSError) as error:
        hint = getattr(error, "hint", None)
        sys.exit(f"error: {error}\nhint: {hint}" if hint else f"error: {error}")


if __name__ == "__main__":
    main()
