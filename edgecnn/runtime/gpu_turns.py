"""Who may use the GPU while a CUDA graph is captured: nobody else in this process.

While one thread captures, CUDA refuses what allocates memory or opens a library in any other, and the capture
fails with it ("operation failed due to a previous error during capture", seen with ONNX Runtime 1.31).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """Many threads at once, or one alone. A thread that has its turn already gets what it asks for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users, self._waiting, self._taken = 0, 0, False
        self._own = threading.local()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Use the GPU beside others; waits while one thread is alone, or waits to be."""
        if getattr(self._own, "turn", False):
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._waiting)
            self._users += 1
        self._own.turn = True
        try:
            yield
        finally:
            self._own.turn = False
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Use the GPU while nobody else does; not within `shared`."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken and not self._users)
            finally:  # else whoever comes later would wait for one that was interrupted
                self._waiting -= 1
                self._changed.notify_all()
            self._taken = True
        self._own.turn = True
        try:
            yield
        finally:
            self._own.turn = False
            with self._changed:
                self._taken = False
                self._changed.notify_all()


#: Of this process, as CUDA's capture is.
TURNS = Turns()
