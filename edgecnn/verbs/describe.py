"""Write into an ONNX file how its images are prepared, and its labels; its graph stays as it is."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import __version__, files, onnx_metadata, request_json
from edgecnn.artifact import METADATA_KEY, Manifest, Step, check_onnx_output, read_manifest
from edgecnn.compile.build_engine import foreign
from edgecnn.errors import ArtifactError, DataError, InvalidValueError
from edgecnn.model_content import content_sha256
from edgecnn.record import Record
from edgecnn.runtime import load
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.labels import label_set
from edgecnn.runtime.preparation_options import prepared_for
from edgecnn.verbs.describe_request import DescribeRequest

Labels = str | tuple[str, ...]


@dataclass(frozen=True)
class Described(Record):
    """A file that says what was said of it."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        labels = self.manifest.labels
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "preprocessing": self.manifest.preprocessing,
            "labels": list(labels) if isinstance(labels, tuple) else labels,
            "task": self.manifest.task,
            "decoder": self.manifest.decoder,
        }


def describe_model(request: DescribeRequest) -> Described:
    """Write the file with its manifest, whole or not at all; all other bytes of it stay as they are.

    Raises ArtifactError for a file that is no ONNX file or does not run, InvalidValueError for what does not
    fit it, DataError for labels that cannot be read.
    """
    source, output = request.source, request.output or request.source
    labels = None if request.labels is None else read_labels(request.labels)
    known = read_manifest(source)
    if source.suffix == ".safetensors" or (known is not None and known.engine is not None):
        raise ArtifactError(f"{source} is no ONNX file", hint="describe the ONNX file, and compile it then")
    check_onnx_output(output)
    _demand_beside(source, output)
    manifest = known or foreign(source)
    with load(source, device="cpu") as engine:
        manifest = _described(manifest, engine, request, labels)
    step = Step(
        "describe",
        {
            "asked": request_json.to_json(request, "source", "output", "labels"),
            "labelled": labels is not None,
        },
        parent=content_sha256(source),
    )
    manifest = dataclasses.replace(manifest, lineage=(*manifest.lineage, step))
    content = onnx_metadata.with_entry(source.read_bytes(), METADATA_KEY, manifest.to_json())
    files.write_atomic(output, content)
    return Described(output, hashlib.sha256(content).hexdigest(), len(content), manifest)


def read_labels(labels: str) -> Labels:
    """Return the name of a label set, or the names in a file, one a line; # begins a comment.

    Raises DataError.
    """
    if labels in ("imagenet", "digits"):
        return labels
    try:
        text = Path(labels).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{labels} is no file of labels: {error}", hint="one name a line; or: imagenet, digits"
        ) from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip() and line[0] != "#")
    if not names:
        raise DataError(f"{labels} names no class", hint="one name a line")
    return names


def _described(
    manifest: Manifest, engine: Engine, request: DescribeRequest, labels: Labels | None
) -> Manifest:
    said = request.preparation
    if request.preprocessing is not None:
        engine.prepare_by(request.preprocessing)
        engine.demand_own_preprocessing()
    if said.says:
        if said.said_by is None and not engine.is_prepared:
            raise InvalidValueError(
                f"{request.source.name} does not say what its values mean, and that is not said either",
                hint="`prepare` imagenet, `pixels` 255, or `mean` and `std`",
            )
        engine.prepare_by(prepared_for(engine, said))
    if engine.is_prepared:
        prepared = engine.preprocessing
        size = prepared.size.said if manifest.resolution is None else manifest.resolution
        manifest = dataclasses.replace(manifest, preprocessing=prepared.to_json(), resolution=size)
    engine.take_constants(request.inputs.constants)
    manifest = dataclasses.replace(manifest, constants=engine.constants)
    if request.decoding.settings is not None:
        engine.decode_by(request.decoding.settings)
        manifest = dataclasses.replace(manifest, task=engine.task.name, decoder=engine.task.decoder)
    if labels is not None:
        _demand_count(engine, labels)
        manifest = dataclasses.replace(manifest, labels=labels)
    return dataclasses.replace(manifest, versions={**manifest.versions, "edgecnn": __version__})


def _demand_count(engine: Engine, labels: Labels) -> None:
    count = len(label_set(labels) if isinstance(labels, str) else labels)
    if engine.classes and count != engine.classes:
        raise InvalidValueError(
            f"{engine.path.name} has {engine.classes} classes, the labels name {count}",
            hint="one name for each class, in the order of the scores",
        )


def _demand_beside(source: Path, output: Path) -> None:
    """Raise InvalidValueError where a file would be written away from the weights beside it."""
    others = onnx_metadata.contents(source).files
    if others and source.resolve().parent != output.resolve().parent:
        raise InvalidValueError(
            f"{source.name} keeps its weights in {others[0]}, beside it",
            hint=f"`output` {source.parent}/NAME",
        )
