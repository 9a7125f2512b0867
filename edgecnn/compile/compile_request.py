"""What is asked of `edgecnn compile`, with every value checked before work begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.backends import BACKENDS, for_other_gpus
from edgecnn.errors import InvalidValueError
from edgecnn.registry import suggest
from edgecnn.runtime.engine import demand_threads
from edgecnn.targets import target

#: What an engine is tuned for.
HINTS = ("latency", "throughput")
AUTO = "auto"
#: Fields of a request that say something to every backend.
GENERAL = frozenset({"source", "output", "backend", "check", "reference", "target"})
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
class CompileRequest:
    """What is asked. Raises InvalidValueError or UnknownNameError for values that cannot work.

    An option that a backend does not know is refused, not ignored: `demand` is called with the names of
    those that it does.
    """

    source: Path
    output: Path | None = None
    backend: str = AUTO
    #: Board or GPU by name, whose compute capability is built for.
    target: str | None = None
    #: Compute capabilities, as "8.9"; none: this machine's.
    sm: tuple[str, ...] = ()
    batch: BatchRange | None = None
    #: Of the CPU; 0: the library's choice.
    threads: int = 0
    #: "cpu" or "cuda".
    device: str = "cpu"
    hint: str = "latency"
    #: Whether the CPU may compute in bfloat16.
    bf16: bool = False
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    #: Engines that later versions of the library, and other GPUs of the kind, run as well.
    version_compatible: bool = False
    hardware_compatible: bool = False
    #: Whether weights with two zeros in four are looked for.
    sparsity: bool = False
    #: Number of the deep-learning accelerator; what it cannot do runs on the GPU.
    dla: int | None = None
    #: Folder of images that the engine is checked on; none: the built-in ones.
    check: Path | None = None
    #: Float ONNX file that an int8 one was made from, which decides whether an engine is right; none: the one
    #: beside it, if it is there.
    reference: Path | None = None

    def __post_init__(self) -> None:
        if self.backend != AUTO:
            BACKENDS.get(self.backend)
        if self.hint not in HINTS:
            raise InvalidValueError(f"unknown hint {self.hint!r}", hint=suggest(self.hint, list(HINTS)))
        demand_threads(self.threads)
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InvalidValueError("the workspace is a positive number of MiB", hint="leave it out")
        if self.target is not None:
            target(self.target)
        for value in self.sm:
            if not re.fullmatch(r"\d{1,2}\.\d", value):
                raise InvalidValueError(
                    f"{value!r} is no compute capability", hint="as in --sm 8.9, or --sm 75,86,89"
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
    """Return a field as the command line calls it."""
    return name.removesuffix("_mib").replace("_", " ")


def _defaults() -> dict[str, Any]:
    return {
        name: field.default for name, field in CompileRequest.__dataclass_fields__.items() if name != "source"
    }


def parse_sm(text: str) -> tuple[str, ...]:
    """Read "89" or "7.5,8.6,120" as compute capabilities; raises InvalidValueError."""
    found = []
    for part in text.split(","):
        part = part.strip().lower().removeprefix("sm").lstrip("_")
        if part.isdecimal() and len(part) > 1:
            part = f"{part[:-1]}.{part[-1]}"
        if not re.fullmatch(r"\d{1,2}\.\d", part):
            raise InvalidValueError(f"{text!r} names no compute capabilities", hint="as in --sm 75,86,89")
        found.append(part)
    return tuple(dict.fromkeys(found))
