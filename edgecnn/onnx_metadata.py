"""Read the metadata of an ONNX file without the onnx package, and tell a damaged file from a whole one.

A board has no onnx package, and an engine library's message for a damaged file is cryptic. An ONNX
file is one protocol-buffers message; its outermost fields are walked here, and the network itself
is skipped by its length, so that a file of any size is looked at in microseconds.
Source: the encoding page of the Protocol Buffers documentation, and `ModelProto` in onnx.proto.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgecnn.errors import ArtifactError

# Field numbers of ModelProto, StringStringEntryProto, GraphProto, NodeProto and TensorProto.
_IR_VERSION, _GRAPH, _OPSET_IMPORT, _METADATA_PROPS = 1, 7, 8, 14
_KEY, _VALUE = 1, 2
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
_INPUT_NAMES, _OUTPUT_NAMES, _OP_TYPE = 1, 2, 4
_DATA_TYPE, _EXTERNAL_DATA = 2, 13
#: TensorProto.DataType
FLOAT16 = 10
#: Operators that change no value but its type or place, and those that make a probability of one number.
SHAPING = ("Cast", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
SIGMOIDS = ("Sigmoid", "HardSigmoid")
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def read(path: str | Path, stream: BinaryIO | None = None) -> dict[str, str]:
    """Return `metadata_props` of an ONNX file as a dictionary; raises ArtifactError if it is no such file.

    `stream` is the file where it is open already.
    """
    metadata: dict[str, str] = {}
    seen = set()
    try:
        with _opened(path, stream) as (file, size):
            if size == 0:
                raise ArtifactError(f"{path} is empty", hint="export the model again")
            for number, length, _ in _fields(file, size):
                seen.add(number)
                if number == _METADATA_PROPS:
                    key, value = _entry(file, length)
                    metadata[key] = value
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


def with_entry(content: bytes, key: str, value: str) -> bytes:
    """Return an ONNX file whose metadata say `value` of `key`; every other byte is as it was.

    Raises ArtifactError if it is none.
    """
    kept, start = [], 0
    stream = io.BytesIO(content)
    try:
        for number, length, _ in _fields(stream, len(content)):
            end = stream.tell() + length
            if number != _METADATA_PROPS or _entry(stream, length)[0] != key:
                kept.append(content[start:end])
            start = end
    except (EOFError, ValueError) as error:
        raise ArtifactError("what is to be described is no ONNX file") from error
    entry = _field(_KEY, key.encode()) + _field(_VALUE, value.encode())
    return b"".join([*kept, _field(_METADATA_PROPS, entry)])


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH]) + _length(content) + content


def _length(content: bytes) -> bytes:
    """Return the length of a field's content, in sevens of bits."""
    left, made = len(content), bytearray()
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*made, left])


@dataclass(frozen=True)
class Contents:
    """What a network is made of; what lies in branches and loops is not looked at."""

    operators: frozenset[str]
    #: Types of its weights, by TensorProto.DataType.
    types: frozenset[int]
    #: Names of the files, relative to its folder, that hold weights.
    files: tuple[str, ...]
    #: Outputs that a sigmoid makes: they are probabilities.
    sigmoids: frozenset[str] = frozenset()


def contents(path: str | Path, opened: BinaryIO | None = None) -> Contents:
    """Return what a whole ONNX file holds; raises ArtifactError if it is damaged.

    `opened` is the file where it is open already.
    """
    operators, types = set(), set()
    files: dict[str, None] = {}
    outputs: list[str] = []
    #: Tensor: the operator that makes it, and what that reads first.
    makers: dict[str, tuple[str, str]] = {}
    try:
        with _opened(path, opened) as (stream, size_of_file):
            for part, length, _ in _inside(stream, size_of_file, _GRAPH):
                if part == _NODE:
                    operator, read, made = _node(stream, length)
                    operators.add(operator)
                    makers |= dict.fromkeys(made, (operator, read))
                elif part == _OUTPUT:
                    outputs += [
                        stream.read(size).decode()
                        for number, size, _ in _fields(stream, stream.tell() + length)
                        if number == 1  # ValueInfoProto's name
                    ]
                if part != _INITIALIZER:
                    continue
                for number, size, value in _fields(stream, stream.tell() + length):
                    if number == _DATA_TYPE:
                        types.add(value)
                    elif number == _EXTERNAL_DATA:
                        key, name = _entry(stream, size)
                        if key == "location":
                            files[name] = None
    except (EOFError, ValueError) as error:
        raise _not_onnx(path) from error
    sigmoids = frozenset(name for name in outputs if _last_operator(name, makers) in SIGMOIDS)
    return Contents(frozenset(operators), frozenset(types), tuple(files), sigmoids)


def _last_operator(output: str, makers: Mapping[str, tuple[str, str]]) -> str:
    """Return the operator that makes an output, but for those that only shape it."""
    operator, read = makers.get(output, ("", ""))
    passed = set()  # each once: a damaged file may have a ring
    while operator in SHAPING and read in makers and read not in passed:
        passed.add(read)
        operator, read = makers[read]
    return operator


@contextlib.contextmanager
def _opened(path: str | Path, stream: BinaryIO | None) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a file at its beginning, and its size."""
    with open(path, "rb") if stream is None else contextlib.nullcontext(stream) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield file, size


def _node(stream: BinaryIO, length: int) -> tuple[str, str, list[str]]:
    """Return a node's operator, its first input and its outputs."""
    operator, inputs, outputs = "", [], []
    for number, size, _ in _fields(stream, stream.tell() + length):
        if number == _OP_TYPE:
            operator = stream.read(size).decode()
        elif number == _INPUT_NAMES:
            inputs.append(stream.read(size).decode())
        elif number == _OUTPUT_NAMES:
            outputs.append(stream.read(size).decode())
    return operator, inputs[0] if inputs else "", outputs


def _inside(stream: BinaryIO, end: int, wanted: int) -> Iterator[tuple[int, int, int]]:
    """Yield the fields inside each message `wanted` of those up to `end`."""
    for number, length, _ in _fields(stream, end):
        if number == wanted:
            yield from _fields(stream, stream.tell() + length)


def _entry(stream: BinaryIO, length: int) -> tuple[str, str]:
    """Return key and value of a StringStringEntryProto."""
    fields = _fields(stream, stream.tell() + length)
    entry = {number: stream.read(size).decode() for number, size, _ in fields}
    return entry.get(_KEY, ""), entry.get(_VALUE, "")


def _not_onnx(path: str | Path) -> ArtifactError:
    return ArtifactError(
        f"{path} is not an ONNX file", hint="make one with: edgecnn export mobilenet -o m.onnx"
    )


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield field number, content length and integer value up to `end`; content that was not read is skipped.

    One of the last two is 0: a field has content, or is an integer.
    """
    while stream.tell() < end:
        tag = _varint(stream)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or number > _METADATA_PROPS + 50:
            raise ValueError("no such field")
        length = value = 0
        if wire_type == _VARINT:
            value = _varint(stream)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        elif wire_type == _LENGTH:
            length = _varint(stream)
        else:
            raise ValueError("no such wire type")
        following = stream.tell() + length
        if following > end:
            # The field is noted as seen before the missing bytes are: a graph that is cut short is a graph.
            yield number, 0, 0
            raise EOFError(f"{following - end} bytes are missing")
        yield number, length, value
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
