"""How often each file is opened to be read while something runs."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_counts: list[Counter[str]] = []


def _hook(event: str, arguments: tuple) -> None:
    if event == "open" and _counts and isinstance(arguments[0], str | os.PathLike):
        path, mode, flags = arguments
        if not (mode and set(mode) & set("wax+")) and not flags & (os.O_WRONLY | os.O_RDWR):
            _counts[-1][os.path.realpath(path)] += 1


sys.addaudithook(_hook)  # for good: a hook cannot be taken out again


@contextlib.contextmanager
def reads() -> Iterator[Counter[Path]]:
    """Count, by Python's own audit, how often each file is opened; libraries in C are not seen."""
    counted: Counter[Path] = Counter()
    _counts.append(Counter())
    try:
        yield counted
    finally:
        counted.update({Path(name): count for name, count in _counts.pop().items()})
