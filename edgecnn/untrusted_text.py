"""Text of strangers for people: what would steer a terminal, or deceive a reader, is shown as it is written.

A file's name, a manifest and what a board says may hold any character. Escape sequences move the cursor and
write over what stands there, set titles, and hide; marks of direction let one name look like another.
"""

from __future__ import annotations

import re

#: Controls (C0, DELETE, C1), line and paragraph separators, marks of direction, and bytes that are no text.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return one line in which every character is seen: ESC is `\x1b`, a byte that is no text `\xe8`."""
    return _HIDDEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name, as Python holds it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
