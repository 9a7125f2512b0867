"""Look at a .pth file before it is loaded: what it would import, and how large it would become.

A pickle is a program, and an archive may unpack to any size. Here the archive's directory and the pickle's
opcodes are read; nothing is built and nothing is run. PyTorch's restricted unpickler loads the file
afterwards. It runs no foreign code either, but it believes what the file says of its sizes: it reads beyond
a record that is shorter, enlarges a storage that is smaller, and calls `bytearray` with any number.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from edgecnn.errors import WeightsError

#: A pickle of weights has some 30 opcodes per tensor, an optimizer's state three times as many.
_MOST_OPCODES = 2_000_000
#: Bytes of a pickle, and of an archive's directory. The tensors lie outside of both.
_MOST_PICKLED = 32 << 20
#: A file of PyTorch before 1.6 begins with so many pickles; the tensors follow.
_OLD_PICKLES = 5
#: Elements of a tensor that repeats a smaller memory, as `expand` makes it.
_MOST_REPEATED = 1_000_000
#: Bytes per element.
_STORAGES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
    "Bool": 1, "ComplexDouble": 16, "ComplexFloat": 8, "Untyped": 1,
}  # fmt: skip
#: What tensors are made of; the rest of PyTorch's own list allocates what a number says.
_ALLOWED = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\.(Size|device|bool|(b?float|u?int|complex)\d+\w*)"
    rf"|torch\.(storage\.)?({'|'.join(_STORAGES)})Storage"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.nn\.parameter\.Parameter"
    r"|_codecs\.encode|(builtins|__builtin__)\.(set|complex)"
)
_REBUILD = re.compile(r"torch\._utils\._rebuild_tensor(_v2)?")
#: Attributes of every `nn.Module`: where they are pickled, a whole network is.
_MODULE_MARKS = {"_parameters", "_modules"}
_REMEDY = "save only the weights: torch.save(model.state_dict(), ...), or safetensors"


def check(path: Path, most: int) -> None:
    """Raise WeightsError for a .pth file that holds more than tensors or needs more than `most` bytes.

    ValueError, IndexError and other errors of the standard library are raised for a damaged one.
    """
    with open(path, "rb") as stream:
        if stream.read(2) == b"PK":
            _check_archive(path, stream, most)
        else:
            stream.seek(0)
            found = _Scan(path).read(stream.read(_MOST_PICKLED), _OLD_PICKLES)
            check_size(path, sum(found.storages.values()), most)
            longest = max(found.storages.values(), default=0)
            if longest > path.stat().st_size:
                raise ValueError(f"a tensor of {longest} bytes is not in it")


def check_size(path: Path, size: int, most: int) -> None:
    """Raise WeightsError where a file needs more memory than any checkpoint of the network does."""
    if size > most:
        raise WeightsError(
            f"{path} would take {size / 1e9:,.3g} GB of memory; no checkpoint of this network needs more than"
            f" {most / 1e9:.3g} GB",
            hint=f"check that it is of this network and where it is from, or {_REMEDY}",
        )


def _check_archive(path: Path, stream: BinaryIO, most: int) -> None:
    check_size(path, _directory_bytes(stream), _MOST_PICKLED)
    with zipfile.ZipFile(stream) as archive:
        records = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        if "constants.pkl" in records:
            raise WeightsError(
                f"{path} is a TorchScript program, not a file of weights",
                hint="save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')",
            )
        if "archive_format" in records:
            raise WeightsError(
                f"{path} is a program of torch.export, not a file of weights",
                hint="save its weights: torch.save(torch.export.load(FILE).state_dict, 'weights.pth')",
            )
        check_size(path, sum(entry.file_size for entry in archive.infolist()), most)
        pickled = records["data.pkl"]
        check_size(path, pickled.file_size, _MOST_PICKLED)
        found = _Scan(path).read(archive.read(pickled), 1)
    sizes = {name: entry.file_size for name, entry in records.items()}
    for key, size in found.storages.items():
        if size > sizes[f"data/{key}"]:
            raise ValueError(f"a tensor of {size} bytes in a record of {sizes[f'data/{key}']}")


def _directory_bytes(stream: BinaryIO) -> int:
    """Return the size of an archive's directory, which has to fit into memory before anything is known."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, end - (1 << 17)))
    tail = stream.read()
    size: int
    if (large := tail.rfind(b"PK\x06\x06")) >= 0:  # more than 65535 records, or 4 GB
        (size,) = struct.unpack_from("<Q", tail, large + 40)
        return size
    (size,) = struct.unpack_from("<I", tail, tail.rindex(b"PK\x05\x06") + 12)
    return size


@dataclass(frozen=True)
class _Storage:
    """What `torch.save` writes for a tensor's memory: where it lies, and how long it is."""

    elements: int


@dataclass(frozen=True)
class _Name:
    """Something that the file wants imported."""

    name: str


@dataclass(frozen=True)
class _Call:
    """What calling `function` gives."""

    function: Any


_MARK = object()


@dataclass
class _Scan:
    """A pickle's opcodes, followed as far as names, strings, numbers and tuples of them go."""

    path: Path
    #: Key of each storage: its bytes.
    storages: dict[str, int] = field(default_factory=dict)
    _stack: list[Any] = field(default_factory=list)
    _memo: dict[Any, Any] = field(default_factory=dict)
    _names: dict[str, None] = field(default_factory=dict)
    _marks: set[str] = field(default_factory=set)

    def read(self, content: bytes, pickles: int) -> _Scan:
        """Follow the first `pickles` of `content`. Raises WeightsError for what no weights are made of."""
        stream, count = io.BytesIO(content), 0
        for _ in range(pickles):
            self._stack.clear()
            self._memo.clear()
            for opcode, argument, _position in pickletools.genops(stream):
                count += 1
                if count > _MOST_OPCODES:
                    raise WeightsError(
                        f"{self.path} holds more objects than the weights of any network", hint=_REMEDY
                    )
                self._follow(opcode, argument)
        self._refuse_other_names()
        return self

    def _refuse_other_names(self) -> None:
        others = [name for name in self._names if not _ALLOWED.fullmatch(name)]
        if not others:
            return
        shown = re.sub(r"[^\w. ]", "?", others[0])[:80]
        if self._marks >= _MODULE_MARKS:
            raise WeightsError(
                f"{self.path} is a whole pickled network ({shown}), not its weights: loading it may run code",
                hint="where the network's own program runs: torch.save(torch.load(FILE, weights_only=False)"
                ".state_dict(), 'weights.pth'); or torch.onnx.export there, and edgecnn quantize here",
            )
        raise WeightsError(
            f"{self.path} holds more than tensors ({shown}): loading it could run code, so it was not loaded",
            hint=_REMEDY,
        )

    def _follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        stack, name = self._stack, opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("GLOBAL", "INST"):
            self._name(argument.replace(" ", "."))
        elif name == "STACK_GLOBAL":
            last, first = stack.pop(), stack.pop()
            self._name(f"{first}.{last}")
        elif name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            length = len(opcode.stack_before)
            stack[len(stack) - length :] = [tuple(stack[len(stack) - length :])]
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name == "BINPERSID":
            stack.append(self._outside(*stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            stack.pop()
            if isinstance(stack[-1], _Call) and _is_rebuild(stack[-1].function):
                raise ValueError("a tensor's memory is replaced")
        elif not opcode.stack_before and argument is not None:
            stack.append(argument)
            if isinstance(argument, str):
                self._marks |= _MODULE_MARKS & {argument}
        else:
            self._other(opcode)

    def _other(self, opcode: pickletools.OpcodeInfo) -> None:
        """Take from the stack what an opcode takes, and put something there for each thing that it puts."""
        above = pickletools.stackslice in opcode.stack_before
        fixed = [
            item
            for item in opcode.stack_before
            if item not in (pickletools.stackslice, pickletools.markobject)
        ]
        if above:
            self._above_mark()
        for _ in fixed:
            self._stack.pop()
        self._stack += [None] * len(opcode.stack_after)

    def _above_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("there is no mark")
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _name(self, name: str) -> None:
        self._names[name] = None
        self._stack.append(_Name(name))

    def _outside(self, kind: Any, of: Any, key: Any, _place: Any, elements: Any = 0, *_: Any) -> Any:
        """Return what lies outside of the pickle: a storage, or (in old files) the class of a module."""
        if kind == "module":
            return of
        size = elements * _STORAGES[of.name.rpartition(".")[2].removesuffix("Storage")]
        if kind != "storage" or not size >= 0:
            raise ValueError("no storage")
        self.storages[str(key)] = max(size, self.storages.get(str(key), 0))
        return _Storage(elements)

    def _call(self, function: Any, arguments: Any) -> _Call:
        if _is_rebuild(function):
            storage, offset, size, stride, *_ = arguments
            last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
            within = isinstance(storage, _Storage) and offset >= 0 and all(step >= 0 for step in stride)
            count = math.prod(size)
            repeated = count > max(storage.elements, _MOST_REPEATED) if within else False
            if not within or repeated or (count > 0 and last >= storage.elements):
                raise ValueError("a tensor is larger than its memory")
        return _Call(function)


def _is_rebuild(function: Any) -> bool:
    return isinstance(function, _Name) and _REBUILD.fullmatch(function.name) is not None
