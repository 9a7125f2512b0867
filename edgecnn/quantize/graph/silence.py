"""Keep what libraries print about a graph from the user: nobody can act on it, and errors are raised."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

#: Standard output and error belong to the process: one at a time turns them away and back.
_LOCK = threading.Lock()
_STREAMS = (1, 2)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Let nothing through that is written to standard output or error meanwhile, by C++ either.

    Of all threads: keep it short.
    """
    with _LOCK, contextlib.ExitStack() as back:
        _flush()  # what was said before
        nowhere = os.open(os.devnull, os.O_WRONLY)
        back.callback(os.close, nowhere)
        for number in _STREAMS:
            with contextlib.suppress(OSError):  # a service may have closed it
                known = os.dup(number)
                back.callback(os.close, known)
                back.callback(os.dup2, known, number)
                os.dup2(nowhere, number)
        back.callback(_flush)
        yield


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
