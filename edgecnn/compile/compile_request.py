"""What is asked of `edgecnn compile`, with every value checked before work begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.backends import BACKENDS, for_other_gpus, listed
from edgecnn.data.input_options import InputOptions
from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size
from edgecnn.options import Request, about, group, option
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.targets import target

#: What an engine is tuned for.
HINTS = ("latency", "throughput")
AUTO = "auto"
#: Fields of a request that say something to every backend.
GENERAL = frozenset(
    {"source", "output", "backend", "check", "inputs", "preparation", "sizes", "reference", "target"}
)
#: The libraries count images in 32 bits.
_MOST_IMAGES = 2**31 - 1


@dataclass(frozen=True)
class BatchRange:
    """Numbers of images that one inference may take: the least, the one to tune for, the greatest."""

    least: int
    best: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most <= _MOST_IMAGES:
            raise InvalidValueError(
                f"batch {self.least}:{self.best}:{self.most} cannot be used",
                hint="MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX, as in 1:8:32, or one number",
            )

    @classmethod
    def parse(cls, text: str) -> BatchRange:
        """Read "8" or "1:8:32"; raises InvalidValueError."""
        numbers = [int(part) if part.isdecimal() else 0 for part in text.split(":")]
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            raise InvalidValueError(f"batch {text!r} cannot be used", hint="MIN:OPT:MAX, as in 1:8:32")
        return cls(*numbers)


@dataclass(frozen=True)
class SizeRange:
    """Heights and widths of images that an engine takes: the least, the one to tune for, the greatest."""

    least: Size
    best: Size
    most: Size

    def __post_init__(self) -> None:
        for sides in zip(self.least, self.best, self.most, strict=True):
            if sorted(sides) != list(sides):
                raise InvalidValueError(
                    f"the sizes {self} cannot be used",
                    hint="MIN:OPT:MAX in ascending order: 32x100:48x320:64x640",
                )

    @classmethod
    def parse(cls, text: str) -> SizeRange:
        """Read "224", "48x320" or "32x100:48x320:64x640"; raises InvalidValueError."""
        found = [Size.of(part) for part in text.split(":")]
        if len(found) == 1:
            found *= 3
        if len(found) != 3:
            raise InvalidValueError(f"sizes {text!r} cannot be used", hint="48x320, or MIN:OPT:MAX")
        return cls(*found)

    def __str__(self) -> str:
        return ":".join(f"{height}x{width}" for height, width in (self.least, self.best, self.most))


def parse_sm(text: str) -> tuple[str, ...]:
    """Read "89" or "7.5,8.6,120" as compute capabilities; raises InvalidValueError."""
    found = []
    for part in text.split(","):
        part = part.strip().lower().removeprefix("sm").lstrip("_")
        if part.isdecimal() and len(part) > 1:
            part = f"{part[:-1]}.{part[-1]}"
        if not re.fullmatch(r"\d{1,2}\.\d", part):
            raise InvalidValueError(f"{text!r} names no compute capabilities", hint="as in `sm` 75,86,89")
        found.append(part)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class CompileRequest(Request):
    """What is asked. Raises InvalidValueError or UnknownNameError for values that cannot work.

    An option that a backend does not know is refused, not ignored: `demand` is called with the names of
    those that it does.
    """

    source: Path = option(help="ONNX file.", name="model", path="read", argument=True)
    output: Path | None = option(
        None, "Engine to write.", unset="beside the file", path="write", hidden=("recipe",)
    )
    backend: str = option(
        AUTO,
        f"Backend: {listed()}; auto measures what runs here, keeps the fastest.",
    )
    target: str | None = option(
        None, "Board or GPU to build for: a name of `edgecnn targets`.", unset="this machine"
    )
    sm: tuple[str, ...] = option(
        (), "Compute capabilities to build for: 89, or 75,86,89.", unset="this machine's GPU", read=parse_sm
    )
    batch: BatchRange | None = option(
        None, "Images per inference: 8, or MIN:OPT:MAX.", unset="1, or the file's", read=BatchRange.parse
    )
    sizes: SizeRange | None = option(
        None,
        "Images to build for, of a file that takes any: 224, 48x320 (height x width), or MIN:OPT:MAX.",
        unset="the file's",
        read=SizeRange.parse,
    )
    threads: int = option(0, "CPU threads; 0: the library's choice.", least=0, most=1024)
    device: str = option("cpu", "Device of ort: cpu, cuda.")
    hint: str = option("latency", "Aim that OpenVINO tunes for: latency, throughput.", choices=HINTS)
    bf16: bool = option(False, "Let the CPU compute in bfloat16.")
    workspace_mib: int | None = option(None, "Most MiB that a layer may use.", name="workspace", least=1)
    timing_cache: Path | None = option(None, "File of timings, read and kept up.", path="update")
    version_compatible: bool = option(False, "An engine for later versions of TensorRT too.")
    hardware_compatible: bool = option(False, "An engine for other GPUs of the kind too.")
    sparsity: bool = option(False, "Use 2:4 sparse weights where they are.")
    #: What it cannot do runs on the GPU.
    dla: int | None = option(
        None, "Deep-learning accelerator, of float16 files; rest on the GPU.", least=0, most=1
    )
    check: Path | None = option(
        None, "Images to check on, or .npz samples.", unset="built-in photographs", path="folder"
    )
    inputs: InputOptions = group(InputOptions)
    preparation: PreparationOptions = group(PreparationOptions)
    reference: Path | None = option(
        None,
        "Float file of an int8 file, which decides.",
        unset="the one beside it, if it must",
        path="read",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend != AUTO:
            with about("backend"):
                BACKENDS.get(self.backend)
        if self.target is not None:
            with about("target"):
                target(self.target)
        for value in self.sm:
            if not re.fullmatch(r"\d{1,2}\.\d", value):
                raise InvalidValueError(
                    f"`sm` {value!r} is no compute capability", hint="as in `sm` 8.9, or `sm` 75,86,89"
                )

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities that are asked for by number or by target; none: this machine's."""
        named = target(self.target).compute_capability if self.target else None
        return self.sm or ((named,) if named else ())

    def demand(self, known: frozenset[str], who: str) -> None:
        """Raise InvalidValueError if something is asked that a builder does not know."""
        if self.target and target(self.target).compute_capability and "sm" not in known:
            raise InvalidValueError(
                f"{who} builds nothing for {self.target}",
                hint=f"{for_other_gpus()} for a desktop GPU, --on NAME for a board",
            )
        for name, default in _defaults().items():
            if name not in known | GENERAL and getattr(self, name) != default:
                raise InvalidValueError(
                    f"{who} knows no {_plain(name)}",
                    hint="it takes " + (", ".join(map(_plain, sorted(known))) or "no options"),
                )


def _plain(name: str) -> str:
    """Return a field by the name that the doors use, marked as one."""
    return f"`{name.removesuffix('_mib')}`"


def _defaults() -> dict[str, Any]:
    return {
        name: field.default for name, field in CompileRequest.__dataclass_fields__.items() if name != "source"
    }
