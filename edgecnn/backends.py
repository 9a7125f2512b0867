"""The table of backends: one row for each engine library, from which everything else reads.

What a row names as "module:attribute" is imported when it is first used, so that this table needs none of it.
Another package brings a row by an entry point of the group `edgecnn.backends`, or calls `register`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn.registry import Registry, add_plugins, plugins

#: Entry points of this group, in any installed package, are a Backend, whose name is theirs, or several.
PLUGIN_GROUP = "edgecnn.backends"


@dataclass(frozen=True)
class Backend:
    """One engine library."""

    name: str
    title: str
    #: Of the files that it runs; `edgecnn compile` writes the last one.
    suffixes: tuple[str, ...]
    #: Subclass of `runtime.engine.Engine`, called with a path, its manifest, `device` and `threads`.
    engine: str
    #: Function of a `compile.builders.Source`, a CompileRequest and a callback for progress: a `Built`.
    builder: str
    #: Module of the library.
    library: str
    #: Packages that bring the library, by which its version is found without importing it.
    packages: tuple[str, ...]
    #: Shorter names that users may give.
    aliases: tuple[str, ...] = ()
    #: Extra of edgecnn that brings the library; None: the first of the packages does.
    extra: str | None = None
    #: Fields of a CompileRequest that the builder heeds, beside those that say something to every backend.
    options: frozenset[str] = frozenset()
    #: Device: the function that makes a `measure.layers.layer_times.Profiler` of an engine there.
    profilers: Mapping[str, str] = field(default_factory=dict)
    #: Function that makes the library do the least thing that shows it works, and says what it can: for
    #: `edgecnn doctor`. None: it is imported.
    probe: str | None = None
    #: Function of an ONNX file's bytes and a number of threads that returns one of an array, which runs it
    #: on the CPU: how fast this machine is at best. None: it is not asked.
    runner: str | None = None
    #: Suffixes of the files that belong to an engine's own.
    beside: tuple[str, ...] = ()
    #: Whether its files need their manifest: they do not say by which library and for what they were built.
    needs_record: bool = False
    #: Whether it builds for GPUs that are elsewhere.
    builds_for_others: bool = False
    #: Whether it computes float16 layers of an int8 file faster than float32 ones.
    mixes_float16: bool = False
    #: What becomes of int8 on a processor that cuts its products off, if it runs there.
    without_vnni: str | None = None
    #: Why two builds of one file differ, if they do.
    rebuilds_differ: str | None = None
    #: Variables that the library reads when it is imported; what the user has set stays.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Package that the library is kept from importing, and does without.
    without: str | None = None

    @property
    def install(self) -> str:
        """The pip command that brings the library."""
        return f'pip install "edgecnn[{self.extra}]"' if self.extra else f"pip install {self.packages[0]}"

    @property
    def compiled(self) -> tuple[str, ...]:
        """Suffixes of the files that only this library reads: all but an ONNX file's."""
        return tuple(suffix for suffix in self.suffixes if suffix != ".onnx")


def attribute(name: str) -> Any:
    """Return what "module:attribute" names, importing the module."""
    module, _, what = name.partition(":")
    return getattr(importlib.import_module(module), what)


#: The library that runs ONNX files as they are: the reference that the others are compared with.
ONNXRUNTIME = Backend(
    name="onnxruntime",
    title="ONNX Runtime",
    aliases=("ort",),
    suffixes=(".onnx", ".ort"),
    library="onnxruntime",
    packages=("onnxruntime", "onnxruntime-gpu"),
    extra="ort",
    engine="edgecnn.runtime.ort_engine:OrtEngine",
    builder="edgecnn.compile.ort_builder:build",
    options=frozenset({"batch", "threads", "device"}),
    profilers={"cpu": "edgecnn.measure.layers.ort_layers:OrtProfiler"},
    probe="edgecnn.runtime.ort_probe:probe",
    runner="edgecnn.runtime.ort_probe:runner",
    without_vnni="ONNX Runtime is told to compute in full, by slower kernels",
    rebuilds_differ="ONNX Runtime orders its .ort files anew each time",
    # From 1.29 on it reports every session to its maker: the model's name, hashes of its weights.
    settings={"ORT_DISABLE_TELEMETRY": "1"},
)
OPENVINO = Backend(
    name="openvino",
    title="OpenVINO",
    suffixes=(".xml",),
    beside=(".bin",),
    library="openvino",
    packages=("openvino",),
    extra="openvino",
    engine="edgecnn.runtime.openvino_engine:OpenVinoEngine",
    builder="edgecnn.compile.openvino_builder:build",
    options=frozenset({"batch", "threads", "hint", "bf16"}),
    profilers={"cpu": "edgecnn.measure.layers.openvino_layers:OpenVinoProfiler"},
    probe="edgecnn.runtime.openvino_probe:probe",
    runner="edgecnn.runtime.openvino_probe:runner",
    without_vnni="OpenVINO takes weights of 7 bits alone (--target openvino-avx2)",
    # It reports each import to Google Analytics through this one, under a number that it writes into the
    # home folder; no variable turns that off.
    without="openvino_telemetry",
)
TENSORRT = Backend(
    name="tensorrt",
    title="TensorRT",
    aliases=("trt",),
    suffixes=(".plan", ".engine"),
    library="tensorrt",
    packages=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    extra="tensorrt",
    engine="edgecnn.runtime.tensorrt_engine:TensorRtEngine",
    builder="edgecnn.compile.tensorrt_builder:build",
    options=frozenset(
        {"batch", "sm", "workspace_mib", "timing_cache", "version_compatible", "hardware_compatible"}
        | {"sparsity", "dla"}
    ),
    profilers={"cuda": "edgecnn.measure.layers.tensorrt_layers:TensorRtProfiler"},
    probe="edgecnn.runtime.tensorrt_library:probe",
    needs_record=True,
    mixes_float16=True,
)
TENSORRT_RTX = Backend(
    name="tensorrt-rtx",
    title="TensorRT-RTX",
    aliases=("rtx",),
    suffixes=(".engine",),
    library="tensorrt_rtx",
    packages=("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
    extra="tensorrt-rtx",
    engine="edgecnn.runtime.tensorrt_engine:TensorRtEngine",
    builder="edgecnn.compile.tensorrt_builder:build",
    # It has no version-compatible or hardware-compatible engines and no DLA, its timing caches are empty, and
    # the request for sparse kernels changes nothing in an engine (versions up to 1.7).
    options=frozenset({"batch", "sm", "workspace_mib"}),
    profilers={"cuda": "edgecnn.measure.layers.tensorrt_layers:TensorRtProfiler"},
    probe="edgecnn.runtime.tensorrt_library:probe_rtx",
    needs_record=True,
    builds_for_others=True,
)


def plugged_in() -> Registry[Backend]:
    """Return a table that has, once it is listed, what installed packages bring."""
    return Registry("backend", more=lambda table: add_plugins(table, PLUGIN_GROUP, Backend))


#: Every backend by name, in the order in which they are listed to users.
BACKENDS = plugged_in()


def register(backend: Backend) -> None:
    """Add a row; raises ValueError if its name or an alias is taken."""
    BACKENDS.add(backend.name, backend, backend.aliases)


for _row in (ONNXRUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX):
    register(_row)


def listed() -> str:
    """Return every backend's name, for help texts, without importing what other packages bring.

    Of a package it is the name of its entry point.
    """
    names = [row.name for row in BACKENDS.registered()]
    return ", ".join(dict.fromkeys([*names, *(point.name for point in plugins(PLUGIN_GROUP))]))


def compiled_suffixes() -> tuple[str, ...]:
    """Return the suffixes of engines, which carry no manifest inside."""
    return tuple(dict.fromkeys(suffix for row in BACKENDS for suffix in row.compiled))


def beside(engine: Path) -> list[Path]:
    """Return the further files that an engine of that name has, as OpenVINO's weights."""
    suffixes = dict.fromkeys(
        suffix for row in BACKENDS if engine.suffix in row.compiled for suffix in row.beside
    )
    return [engine.with_suffix(suffix) for suffix in suffixes]


def for_other_gpus() -> str:
    """Return the option that builds for a GPU that is elsewhere, for hints."""
    names = [row.name for row in BACKENDS if row.builds_for_others]
    return f"`backend` {' or '.join(names)}"
