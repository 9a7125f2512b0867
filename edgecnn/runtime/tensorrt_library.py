"""TensorRT and TensorRT-RTX as one: the module, its version, and what it says when it fails."""

from __future__ import annotations

import collections
import contextlib
import functools
import shutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from edgecnn.backends import TENSORRT, TENSORRT_RTX, Backend
from edgecnn.optional_packages import require
from edgecnn.runtime.compatibility import library_version

#: What the message that lists an engine's layers begins with.
_LAYERS = "Layers:\n"
#: cudaErrorInsufficientDriver.
_NO_DRIVER = "cudaError 35"


class Library:
    """One of the two libraries; raises MissingPackageError where it is not installed.

    TensorRT-RTX has the programming interface of TensorRT 11 under another module name.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.version = library_version(backend)
        self.trt: Any = require(backend.library, f"using an engine of {backend.title}")
        self.log = _log(self.trt)

    def __str__(self) -> str:
        return f"{self.backend.title} {self.version}"

    @property
    def strongly_typed(self) -> bool:
        """Whether networks can have the precision that their file says, and no other: from version 10 on."""
        return self._rtx or self._major >= 10

    @property
    def strongly_typed_by_flag(self) -> bool:
        """Whether that must be asked for: TensorRT 10 alone; later ones do nothing else."""
        return not self._rtx and self._major == 10

    @property
    def implicit_batch(self) -> bool:
        """Whether a network without a batch dimension is the default: before version 10."""
        return not self._rtx and self._major < 10

    @property
    def _rtx(self) -> bool:
        return self.backend.name == "tensorrt-rtx"

    @property
    def _major(self) -> int:
        return int(self.version.split(".")[0])


@functools.cache
def _log(trt: ModuleType) -> Any:
    """Return the library's log: it keeps the first that it is given for as long as the process lives."""
    base: Any = trt.__dict__["ILogger"]
    severities = base.Severity

    class Log(base):  # type: ignore[misc]
        """Collects messages while somebody listens. Builders and several threads write to it."""

        def __init__(self) -> None:
            base.__init__(self)
            self._listeners: list[Messages] = []

        def log(self, severity: Any, message: str) -> None:
            for listener in tuple(self._listeners):
                try:
                    if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                        listener.errors.append(message)
                    elif message.startswith(_LAYERS):
                        listener.layers = message.removeprefix(_LAYERS)
                except KeyboardInterrupt as error:  # the library would swallow it
                    listener.interrupted = error

        @contextlib.contextmanager
        def listen(self) -> Iterator[Messages]:
            messages = Messages()
            self._listeners.append(messages)
            try:
                yield messages
            finally:
                self._listeners.remove(messages)

    return Log()


def probe() -> str:
    """Return what TensorRT can do here; raises whatever its start-up does."""
    return _probe(TENSORRT)


def probe_rtx() -> str:
    """Return what TensorRT-RTX can do here; raises whatever its start-up does."""
    return _probe(TENSORRT_RTX)


def _probe(backend: Backend) -> str:
    library = Library(backend)
    library.trt.Builder(library.log)
    return "builds engines" + ("" if shutil.which("nvidia-smi") else "; no GPU here to run them")


def sizes(dims: Any) -> tuple[int, ...]:
    """Return the library's Dims as a tuple; -1 for what is free."""
    return tuple(int(dims[index]) for index in range(len(dims)))


class Messages:
    """What a library said while somebody listened."""

    def __init__(self) -> None:
        self.errors: collections.deque[str] = collections.deque(maxlen=8)
        #: The engine inspector's text of a build, where its details were asked for.
        self.layers = ""
        #: Ctrl-C, which reaches Python inside the library's calls of it, and must not be raised there.
        self.interrupted: BaseException | None = None

    def __str__(self) -> str:
        """All errors as one line."""
        lines = dict.fromkeys(" ".join(text.split()) for text in self.errors)
        # Where there is no driver a build mentions it and goes on: no reason as long as there is another.
        told = [line for line in lines if _NO_DRIVER not in line] or lines
        return "; ".join(told) or "it gives no reason"
