"""Read the metadata of an ONNX file without the onnx package, and tell a damaged file from a whole one.

A board has no onnx package, and an engine library's message for a damaged file is cryptic. An ONNX
file is one protocol-buffers message; its outermost fields are walked here, and the network itself
is skipped by its length, so that a file of any size is looked at in microseconds.
Source: the encoding page of the Protocol Buffers documentation, and `ModelProto` in onnx.proto.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgecnn.errors import ArtifactError

# Field numbers of ModelProto and StringStringEntryProto.
_IR_VERSION, _GRAPH, _OPSET_IMPORT, _METADATA_PROPS = 1, 7, 8, 14
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def read(path: str | Path) -> dict[str, str]:
    """Return `metadata_props` of an ONNX file as a dictionary; raises ArtifactError if it is no such file."""
    size = os.path.getsize(path)
    if size == 0:
        raise ArtifactError(f"{path} is empty", hint="export the model again")
    metadata: dict[str, str] = {}
    seen = set()
    try:
        with open(path, "rb") as stream:
            for number, length in _fields(stream, size):
                seen.add(number)
                if number == _METADATA_PROPS:
                    end = stream.tell() + length
                    entry = {}
                    for part, part_length in _fields(stream, end):
                        entry[part] = stream.read(part_length).decode()
                    metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except EOFError as error:
        if _IR_VERSION in seen:
            raise ArtifactError(f"{path} is cut short: {error}", hint="copy or export it again") from error
        raise _not_onnx(path) from error
    except ValueError as error:
        raise _not_onnx(path) from error
    if _GRAPH not in seen or _OPSET_IMPORT not in seen:
        raise _not_onnx(path)
    return metadata


def _not_onnx(path: str | Path) -> ArtifactError:
    return ArtifactError(
        f"{path} is not an ONNX file", hint="make one with: edgecnn export mobilenet -o m.onnx"
    )


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield (field number, content length) up to `end`; the content is skipped if it was not read."""
    while stream.tell() < end:
        tag = _varint(stream)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or number > _METADATA_PROPS + 50:
            raise ValueError("no such field")
        if wire_type == _VARINT:
            _varint(stream)
            length = 0
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        elif wire_type == _LENGTH:
            length = _varint(stream)
        else:
            raise ValueError("no such wire type")
        following = stream.tell() + length
        if following > end:
            # The field is noted as seen before the missing bytes are: a graph that is cut short is a graph.
            yield number, 0
            raise EOFError(f"{following - end} bytes are missing")
        yield number, length
        stream.seek(following)


def _varint(stream: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)
        if not byte:
            raise EOFError("it ends inside a field")
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
        if shift > 63:
            raise ValueError("no such number")
