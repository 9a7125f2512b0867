"""What a board may answer: it may be anybody's, so each answer is looked at before it is used.

All functions raise `frames.Damaged`, which says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from edgecnn.backends import BACKENDS
from edgecnn.devices.remote.board.frames import Damaged

#: Characters of a sentence that a board says.
_SENTENCE = 300
#: Characters of a path, and environments that are told of.
_PATH, _ENVIRONMENTS = 4096, 1000
#: How a program ended: by itself, at its limit of time, because it was asked to.
_WHY = (None, "late", "stopped")


def facts(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a board is, as `board.facts` finds it out."""
    known = {**_FACTS, **{row.library: _yes_or_no for row in BACKENDS.registered()}}
    for key, fits in known.items():
        if key not in header or not fits(header[key]):
            raise Damaged(f"{key} is {_short(header.get(key))}")
    return {key: header[key] for key in known}


def missing(answer: Mapping[str, Any], asked: Mapping[str, int]) -> dict[str, int]:
    """Return how many bytes are there of each file that is not there, by its SHA-256; `asked` are sizes."""
    found = answer.get("missing")
    if not isinstance(found, dict):
        raise Damaged("it does not say which files are missing")
    for digest, there in found.items():
        if digest not in asked or type(there) is not int or not 0 <= there <= asked[digest]:
            raise Damaged(f"of the file {_short(digest)} it has {_short(there)} bytes")
    return dict(found)


def made(answer: Mapping[str, Any], names: Collection[str], most: int) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of the files out of `names` that are there, at most so many bytes together."""
    rows = answer.get("files")
    if not isinstance(rows, list):
        raise Damaged("it does not say which files there are")
    found: dict[str, tuple[int, str]] = {}
    for row in rows:
        if not (isinstance(row, list) and len(row) == 3 and _text(_PATH)(row[0])):
            raise Damaged(f"{_short(row)} is no file")
        name, size, sha256 = row
        if name not in names or name in found:
            raise Damaged(f"a file {_short(name)}, which nobody asked for")
        if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", str(sha256)):
            raise Damaged(f"the file {_short(name)} of {_short(size)} bytes")
        found[name] = (size, sha256)
    if (total := sum(size for size, _ in found.values())) > most:
        raise Damaged(f"files of {total / 1e6:.0f} MB; {most / 1e6:.0f} MB are allowed")
    return found


def ended(answer: Mapping[str, Any]) -> tuple[int, str | None]:
    """Return a program's exit code, below 0 for a signal, and why it ended before its time."""
    code, why = answer.get("exit"), answer.get("why")
    if type(code) is not int or not -64 <= code <= 255 or why not in _WHY:
        raise Damaged(f"a program ended with {_short(code)}, {_short(why)}")
    return code, why


def refusal(header: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return why a board does not do what was asked, and what to do about it."""
    said, hint = header["refused"], header.get("hint")
    if not isinstance(said, str) or not isinstance(hint, str | None):
        raise Damaged("it refuses without a word")
    return said[:_SENTENCE], hint and hint[:_SENTENCE]


def _short(value: object) -> str:
    """Return a value as Python writes it, cut."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _text(longest: int, pattern: str = r"[^\0\r\n]*") -> Callable[[object], bool]:
    """Return what tells whether a value is a text like that."""

    def fits(value: object) -> bool:
        return isinstance(value, str) and len(value) <= longest and bool(re.fullmatch(pattern, value))

    return fits


def _version(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 3 and all(type(n) is int and 0 <= n < 1000 for n in value)
    )


def _libc(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_text(32, r"[\w.+-]*"), value))


def _environments(value: object) -> bool:
    name = _text(255, r"environment-[\w.+-]*")
    return (
        isinstance(value, dict)
        and len(value) <= _ENVIRONMENTS
        and all(name(key) and isinstance(whole, bool) for key, whole in value.items())
    )


def _yes_or_no(value: object) -> bool:
    return isinstance(value, bool)


_absolute = _text(_PATH, r"/[^\0\r\n]*")

#: Each fact, and what tells whether a value can be one.
_FACTS: dict[str, Callable[[object], bool]] = {
    "home": _absolute,
    "user": _text(256),
    "host": _text(256),
    "machine": _text(32, r"[A-Za-z0-9_]+"),
    "libc": _libc,
    "python": _version,
    "executable": _absolute,
    "user_base": _absolute,
    "venv": _yes_or_no,
    "free": lambda value: type(value) is int and value >= 0,
    "in_use": lambda value: value is None or _text(256)(value),
    "environments": _environments,
}
