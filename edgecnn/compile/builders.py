"""What builders have in common: what they get and what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from edgecnn.artifact import Manifest
from edgecnn.backends import Backend, attribute
from edgecnn.compile.compile_request import CompileRequest
from edgecnn.progress import Progress

#: Told what is being done, and of long steps how far it is: "tactics: 12 of 80".


@dataclass(frozen=True)
class Source:
    """The ONNX file that is compiled."""

    path: Path
    sha256: str
    #: What the file says of itself, or what there is to find out of one that says nothing.
    manifest: Manifest
    #: Outputs that are probabilities of a sigmoid.
    sigmoids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Built:
    """What a builder made."""

    #: Suffix: content. The first is the file that is loaded.
    files: Mapping[str, bytes]
    #: As in `artifact.EngineRecord`.
    needs: Mapping[str, tuple[str, ...]]
    built_on: Mapping[str, Any]
    flags: Mapping[str, Any]
    #: Whether this machine can run it.
    runs_here: bool = True
    #: What the user should know.
    notes: list[str] = field(default_factory=list)
    #: Layers as the builder arranged them, with what it says of each; none where it does not tell.
    layers: list[dict[str, Any]] | None = None
    #: What float32 is computed in where that is coarser: a row of `build_engine.LEAST_DB`.
    arithmetic: str = "float32"


#: Returns the engine; raises EngineError if the library refuses the network.
Builder = Callable[[Source, CompileRequest, Progress], Built]


def builder(backend: Backend) -> Builder:
    """Return the function that builds engines of a backend."""
    return cast(Builder, attribute(backend.builder))
