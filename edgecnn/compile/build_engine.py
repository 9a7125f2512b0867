"""From an ONNX file to an engine on disk: build, check against the file, write both with their record."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecnn import __version__, backends, files, onnx_metadata, request_json
from edgecnn.artifact import EngineRecord, Manifest, Step, is_compiled, sidecar
from edgecnn.backends import BACKENDS, Backend
from edgecnn.compile.builders import Built, Source, builder
from edgecnn.compile.check_engine import check_engine
from edgecnn.compile.compile_request import AUTO, CompileRequest
from edgecnn.compile.float_reference import AgainstFloat
from edgecnn.data.sample_files import holds_samples
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure.real_inputs import demand_known
from edgecnn.model_content import Inspected, inspect
from edgecnn.parity import Parity
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.runtime import load
from edgecnn.runtime.image_folder import demand_images, list_folder
from edgecnn.runtime.preparation_options import prepared_for


@dataclass(frozen=True)
class Compiled(Record):
    """An engine that was written, or would be."""

    path: Path
    backend: Backend
    sha256: str
    bytes: int
    manifest: Manifest
    #: Against the ONNX file; None where this machine cannot run the engine.
    parity: Parity | None
    seconds: float
    notes: list[str] = field(default_factory=list)
    layers: list[dict[str, Any]] | None = None
    #: Against the float file, where that was asked for or had to decide.
    against_float: AgainstFloat | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        record = self.manifest.engine
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "backend": self.backend.name,
            "precision": self.manifest.precision,
            "parity": self.parity.to_json() if self.parity else None,
            "against_float": self.against_float.to_json() if self.against_float else None,
            "engine": dataclasses.asdict(record) if record else None,
            "seconds": round(self.seconds, 3),
            "layers": self.layers,
            "notes": self.notes,
        }


def open_source(request: CompileRequest, inspected: Inspected | None = None) -> Source:
    """Read what is known of the ONNX file, and list the images that are given; nothing is built for nothing.

    The file is not read where it was inspected before.

    Raises ArtifactError for anything but a network in an ONNX file, DataError for a folder that
    cannot be used.
    """
    path = request.source
    if path.suffix == ".safetensors" or is_compiled(path):
        raise ArtifactError(
            f"{path} is no ONNX file", hint="compile what edgecnn export or edgecnn quantize wrote"
        )
    inspected = inspected or inspect(path)
    manifest = inspected.manifest
    if request.check is not None and not holds_samples(request.check):
        if not request.preparation.says and (manifest is None or manifest.preprocessing is None):
            raise ArtifactError(
                f"{path} does not say how its images are prepared, so `check` cannot be used",
                hint="say it: `prepare` imagenet, or `mean` and `std`",
            )
        demand_images(list_folder(request.check))
    if request.reference is not None and (manifest is None or manifest.precision != "int8"):
        raise InvalidValueError(
            f"{path.name} is no int8 file of edgecnn: only of one `reference` can be the float form",
            hint="leave it out: an engine of a float file is compared with that file",
        )
    known = manifest or foreign(path, inspected.contents)
    known = dataclasses.replace(known, constants={**known.constants, **request.inputs.constants})
    if not request.capabilities and not holds_samples(request.check):
        demand_known(known.inputs, known.constants, path.name)
    if request.preparation.says:
        with load(path, device="cpu") as engine:
            prepared = prepared_for(engine, request.preparation)
        known = dataclasses.replace(known, preprocessing=prepared.to_json())
    if request.dla is not None and known.precision == "int8":
        raise EngineError(
            f"a deep-learning accelerator takes no Q/DQ file: {path.name} has its int8 scales in such pairs,"
            " and TensorRT plans int8 there from a calibration cache alone",
            hint=f"give it a float16 file (edgecnn quantize FLOAT.onnx --fp16 -o {path.stem}_fp16.onnx), or"
            " leave --dla out: the GPU computes this one",
        )
    return Source(path, inspected.sha256, known, inspected.contents.sigmoids)


def engine_path(path: Path, backend: Backend) -> Path:
    """Return a file's name with a backend's suffix: in place of a model's, or after another "m_0.25"."""
    known = {".onnx", *(suffix for row in BACKENDS for suffix in row.suffixes)}
    stem = path.stem if path.suffix.lower() in known else path.name
    return path.with_name(f"{stem}{backend.suffixes[-1]}")


def engine_files(path: Path, backend: str) -> list[Path]:
    """Return every file that a compilation of a model, or to an engine, at `path` may write.

    Raises UnknownNameError for a backend that is none.
    """
    rows = list(BACKENDS) if backend == AUTO else [BACKENDS.get(backend)]
    engines = dict.fromkeys(engine_path(path, row) for row in rows)
    return [part for engine in engines for part in (engine, sidecar(engine), *backends.beside(engine))]


def compile_file(
    request: CompileRequest, progress: Progress = silent, inspected: Inspected | None = None
) -> Compiled:
    """Build an engine for one backend, check it where it runs here, and write it; whole or not at all.

    The ONNX file is not read where it was inspected before.

    Raises EngineError if the library refuses the network, ParityError if the engine computes something
    else, InvalidValueError for options that the backend does not know.
    """
    backend = BACKENDS.get(request.backend)
    source = open_source(request, inspected)
    output = request.output or engine_path(request.source, backend)
    files.check_writable(output)
    with TemporaryFolder() as place:
        built = build_into(request, source, Path(place) / output.name, progress)
        return keep(built, output)


def build_into(request: CompileRequest, source: Source, path: Path, progress: Progress) -> Compiled:
    """Build and check an engine as `compile_file` does, at `path` as it is."""
    start = time.perf_counter()
    backend = BACKENDS.get(request.backend)
    wanted = engine_path(path, backend)
    if path != wanted:
        raise InvalidValueError(
            f"{path.name} would hold an engine of {backend.title}", hint=f"call it {wanted.name}"
        )
    request.demand(backend.options, backend.title)
    progress(f"{backend.title}: build")
    built = builder(backend)(source, request, progress)
    hashes = {}
    for suffix, content in built.files.items():
        part = path.with_suffix(suffix)
        files.write_atomic(part, content, durable=False)
        hashes[part.name] = hashlib.sha256(content).hexdigest()
    manifest = _manifest(source, backend, built, request, hashes)

    def record(manifest: Manifest) -> None:
        files.write_atomic(sidecar(path), manifest.to_json().encode(), durable=False)

    record(manifest)
    parity, against_float = None, None
    notes = list(built.notes)
    if built.runs_here:
        progress(f"{backend.title}: check")
        parity, against_float = check_engine(source, path, request, manifest, built.arithmetic, notes)
    else:
        notes.append("not run: this machine has no such device, so nothing was checked or measured")
    seconds = round(time.perf_counter() - start, 3)
    step = Step(
        "compile",
        {"backend": backend.name, **built.flags, "asked": request_json.to_json(request, "source", "output")},
        parent=source.sha256,
        metrics=parity.to_json() if parity else {},
        extra={"against_float": against_float.to_json()} if against_float else {},
    )
    manifest = dataclasses.replace(manifest, lineage=(*manifest.lineage, step))
    record(manifest)
    return Compiled(
        path,
        backend,
        hashes[path.name],
        sum(map(len, built.files.values())),
        manifest,
        parity,
        seconds,
        notes,
        built.layers,
        against_float,
    )


def keep(built: Compiled, output: Path) -> Compiled:
    """Put an engine where the user wants it: all its files, or none where one cannot be written.

    They get their names within a moment, the file that is loaded last. A run that is killed in that moment
    leaves files whose hashes do not fit, which loading refuses.
    """
    record = built.manifest.engine
    if record is None:
        raise ValueError("a compiled file has a record")
    renamed = {f"{output.stem}{Path(name).suffix}": (name, digest) for name, digest in record.files.items()}
    record = dataclasses.replace(record, files={name: digest for name, (_, digest) in renamed.items()})
    manifest = dataclasses.replace(built.manifest, engine=record)
    parts = {output.with_name(name): built.path.with_name(made) for name, (made, _) in renamed.items()}
    contents = {place: made.read_bytes() for place, made in parts.items() if place != output}
    contents[sidecar(output)] = manifest.to_json().encode()
    contents[output] = built.path.read_bytes()
    files.write_together(contents)
    return dataclasses.replace(built, path=output, manifest=manifest)


def _manifest(
    source: Source, backend: Backend, built: Built, request: CompileRequest, hashes: dict[str, str]
) -> Manifest:
    record = EngineRecord(
        backend=backend.name,
        needs=built.needs,
        built_on=built.built_on,
        flags=built.flags,
        parent=source.path.name,
        parent_sha256=source.sha256,
        files=hashes,
    )
    known = source.manifest
    versions = {**known.versions, "edgecnn": __version__}
    for package in backend.packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return dataclasses.replace(known, engine=record, target=request.target or known.target, versions=versions)


def foreign(path: Path, contents: onnx_metadata.Contents | None = None) -> Manifest:
    """Return what ONNX Runtime, and the file itself, say of an ONNX file that carries no manifest.

    Raises ArtifactError for inputs that are no numbers, EngineError if it does not run.
    """
    found = contents or onnx_metadata.contents(path)
    quantized = any(re.search("QLinear|uantizeLinear|Integer$", name) for name in found.operators)
    half = "float16" if onnx_metadata.FLOAT16 in found.types else "float32"
    with load(path, device="cpu") as engine:
        return Manifest(engine.inputs, engine.outputs, precision="int8" if quantized else half)
