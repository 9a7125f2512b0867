"""Valid samples made wrong, by a seeded generator: bytes, JSON and words."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

#: What stands where something else is expected.
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), float("-inf"), "", " ", "a", "\x1b[31m", "\x00", "é", "\ud800", "../../etc/passwd",
    "x" * 5000, "9" * 5000, "1e999", "%s%n", [], {}, [[]], [None], {"": None}, {"a": {"a": {}}}, [0] * 2000,
]  # fmt: skip
#: Numbers that lengths and offsets break on.
_EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]


def bytes_of(rng: random.Random, samples: list[bytes]) -> bytes:
    """Return a sample with one to eight changes: bits, pieces, lengths, another sample's middle."""
    content = bytearray(rng.choice(samples))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(content) + 1)
        if rng.random() < 0.5:  # headers are at the beginning
            at = min(at, rng.randrange(200))
        length = min(rng.choice((1, 2, 4, 8, 64, 1000)), len(content) - at)
        kind = rng.randrange(7)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del content[at : at + length]
        elif kind == 3:
            content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            edge = (rng.choice(_EDGES) % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
            content[at : at + size] = edge
        elif kind == 5:
            other = rng.choice(samples)
            begin = rng.randrange(len(other) + 1)
            content[at:at] = other[begin : begin + length]
        else:
            del content[at:]
    return bytes(content)


def json_of(rng: random.Random, sample: Any) -> str:
    """Return a JSON text like `sample` in which one to four values, keys or items are not what they were."""
    if rng.random() < 0.02:
        return rng.choice(("[", '{"a":')) * 100_000
    values = copy.deepcopy(sample)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        values = _changed(rng, values)
    text = json.dumps(values)
    return text if rng.random() < 0.95 else text[: rng.randrange(len(text) + 1)]


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            del value[key]
        elif kind == 1:
            value[str(rng.choice(STRANGE))[:50]] = value.pop(key)
        else:
            value[key] = _changed(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.randrange(6)
        if kind == 0:
            del value[at]
        elif kind == 1:
            value += [copy.deepcopy(value[at])] * rng.choice((1, 100))
        else:
            value[at] = _changed(rng, value[at])
        return value
    return copy.deepcopy(rng.choice(STRANGE))  # else the next change would be made in the table


def words_of(rng: random.Random, text: str) -> str:
    """Return a text whose lines, words and indentation are changed in one to four places."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[at] = " " * rng.randrange(9) + lines[at].strip()
        elif kind == 3:
            key, colon, _ = lines[at].partition(":")
            lines[at] = f"{key}{colon} {str(rng.choice(STRANGE))[:6000]}"
        elif kind == 4:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice(
                ("&a", "*a", "!!set", "|", "${x}", "[[[[", "{", "'", "-", "?")
            )
            lines[at] = " ".join(words)
        elif kind == 5:
            begin = rng.randrange(len(lines[at]) + 1)
            lines[at] = (
                lines[at][:begin] + chr(rng.choice((0, 7, 27, 9, 0xFEFF, 0x85, 0x1F600))) + lines[at][begin:]
            )
        else:
            lines[at] = lines[at].replace(rng.choice("abcdeimnopst"), rng.choice(":-#{}[],&*!|>'\"%@`"), 1)
    return "\n".join(lines)
