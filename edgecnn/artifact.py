"""A model file and what is known of it: the manifest.

An ONNX file carries its manifest inside (`metadata_props`, key `edgecnn`), and so does a safetensors file;
any other file has `<file>.json` beside it. `docs/manifest.schema.json` is the JSON schema.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO, Union, get_args, get_origin, get_type_hints

from edgecnn import files, onnx_metadata, strict_json
from edgecnn.backends import compiled_suffixes
from edgecnn.errors import ArtifactError, InvalidValueError

#: Raised by one when a reader of the old form would misread the new one.
FORMAT_VERSION = 1
#: Key of the manifest in the metadata of an ONNX file.
METADATA_KEY = "edgecnn"

#: Characters of a manifest, and the first number that is too large for one.
_MOST_TEXT, _MOST_NUMBER = 16 << 20, 2**63
#: Bytes of a safetensors header: some 100 for each tensor, and the manifest.
_MAX_HEADER = 16 << 20

Json = Any  # what json.loads gives: the manifest's free-form parts


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. A dimension is a number, or a name such as "batch" where it is free."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    #: "NCHW" or "NHWC" for images, "NC" for logits, "" for anything else.
    layout: str
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One entry of the lineage: what was done, to what (`parent`, a SHA-256), and what came of it.

    How long it took is no part of it: who does the same again gets the same bytes.
    """

    what: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    seed: int | None = None
    parent: str | None = None
    metrics: Mapping[str, Json] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerRecord:
    """What a node of the float network costs for one image, and what it is called, for who measures it."""

    #: ONNX operator.
    op: str
    #: Multiply-accumulates; 0 for what has no weights.
    macs: int
    params: int
    #: Values that go in and come out, weights not counted.
    reads: int
    writes: int
    #: Name of its output: some engines name a kernel after that.
    output: str
    #: Nodes that make its inputs.
    inputs: tuple[str, ...]
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineRecord:
    """How a compiled file was built, and where it runs."""

    #: Row of `backends.BACKENDS`.
    backend: str
    #: What must be like this where the file is loaded: what it is: the values that will do. A value that
    #: ends in a dot stands for all that begin with it. `runtime.fit` compares.
    needs: Mapping[str, tuple[str, ...]]
    #: The machine that built it: GPU, driver, CUDA, processor.
    built_on: Mapping[str, Json] = field(default_factory=dict)
    #: What the builder was told.
    flags: Mapping[str, Json] = field(default_factory=dict)
    #: Name and SHA-256 of the ONNX file that it was built from.
    parent: str = ""
    parent_sha256: str = ""
    #: Name of each file that belongs to it, itself included: its SHA-256.
    files: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What is known of a model file. Fields that this version does not know are kept in `extra`."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: Name of the row of `tasks.TASKS` that says what the outputs mean; None for what their shapes tell.
    task: str | None = None
    #: Name of the row of `tasks.decoders.DECODERS` that makes boxes or masks of outputs, and its settings.
    decoder: Mapping[str, Json] | None = None
    #: Fields of `runtime.preprocessing.Preprocessing`: from an image file to the input array.
    preprocessing: Mapping[str, Json] | None = None
    #: Name of an input that is no image: its value, the same for every image. One number stands for all.
    constants: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    #: Name of a label set ("imagenet", "digits"), the list itself, or None.
    labels: str | tuple[str, ...] | None = None
    architecture: str | None = None
    alpha: float = 1.0
    #: Side of the input in pixels, or "HEIGHTxWIDTH".
    resolution: int | str | None = None
    params: int | None = None
    #: Multiply-accumulates of the convolution and linear layers for one image.
    macs: int | None = None
    #: Every node of the float network by its name, in the order in which they run.
    layers: Mapping[str, LayerRecord] | None = None
    #: "random", "imagenet", a file name or a hub name.
    weights: str | None = None
    #: "float32", "float16" or "int8".
    precision: str = "float32"
    target: str | None = None
    #: Of an int8 file: scheme, tensor ranges, and the layers left in float with the rule that left them.
    quantization: Mapping[str, Json] | None = None
    #: Of a compiled file.
    engine: EngineRecord | None = None
    lineage: tuple[Step, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    extra: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as a JSON text; `from_json` gives the same manifest back."""
        values = dataclasses.asdict(self)
        values["inputs"], values["outputs"], values["lineage"] = (
            [_flatten(part) for part in values[key]] for key in ("inputs", "outputs", "lineage")
        )
        if values["engine"] is not None:
            values["engine"] = _flatten(values["engine"])
        if values["layers"] is not None:
            values["layers"] = {name: _flatten(row) for name, row in values["layers"].items()}
        return json.dumps(_flatten(values), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest; raises ArtifactError if it is damaged or of a newer format."""
        try:
            if len(text) > _MOST_TEXT:
                raise ValueError(f"it has more than {_MOST_TEXT >> 20} MiB")
            values = strict_json.loads(text)
            if values["format_version"] > FORMAT_VERSION:
                raise ArtifactError(
                    f"manifest format {values['format_version']}; this edgecnn reads up to {FORMAT_VERSION}",
                    hint="pip install --upgrade edgecnn",
                )
            if not all(isinstance(values[key], list) for key in ("inputs", "outputs", "lineage")):
                raise TypeError("inputs, outputs and lineage are lists")
            if not values["inputs"] or not values["outputs"]:
                raise ValueError("a model has an input and an output")
            for key in ("inputs", "outputs"):
                values[key] = tuple(
                    TensorSpec(**_known(TensorSpec, {**spec, "shape": tuple(spec["shape"])}))
                    for spec in values[key]
                )
            values["lineage"] = tuple(Step(**_known(Step, step)) for step in values["lineage"])
            if values.get("engine") is not None:
                record = _known(EngineRecord, values["engine"])
                record |= {key: dict(record.get(key, {})) for key in ("files", "flags")}
                record["needs"] = {key: tuple(map(str, fit)) for key, fit in record["needs"].items()}
                if not isinstance(record["backend"], str):
                    raise TypeError("an engine has a backend")
                values["engine"] = EngineRecord(**record)
            if values.get("layers") is not None:
                values["layers"] = {
                    name: LayerRecord(**_known(LayerRecord, {**row, "inputs": tuple(row["inputs"])}))
                    for name, row in values["layers"].items()
                }
            constants = values.get("constants", {})
            values["constants"] = {name: tuple(numbers) for name, numbers in constants.items()}
            if isinstance(values.get("labels"), list):
                values["labels"] = tuple(values["labels"])
            if not isinstance(values.get("labels"), str | tuple | None):
                raise TypeError("labels are a name, a list of names or null")
            manifest = cls(**_known(cls, values))
            _demand(manifest)
            return manifest
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"the manifest is damaged: {type(error).__name__}: {str(error)[:200]}"
            ) from error


def _demand(record: Any) -> None:
    """Raise TypeError for a field of a record, or of one within it, that is not of its kind."""
    for name, kind in _kinds(record.__class__).items():
        value = getattr(record, name)
        if not _fits(value, kind):
            raise TypeError(f"{name} is {repr(value)[:60]}")


@cache
def _kinds(record: type) -> dict[str, Any]:
    return get_type_hints(record)


def _fits(value: object, kind: Any) -> bool:
    """Return whether a value is of a kind, as a record of this module states it."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, parts[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(item, parts[1]) for item in value.values())
    if not isinstance(value, kind) and kind is not float:
        return False
    if dataclasses.is_dataclass(value):
        _demand(value)
    if kind in (int, float):
        return isinstance(value, int | float) and type(value) is not bool and abs(value) < _MOST_NUMBER
    return True


def _flatten(values: dict[str, Json]) -> dict[str, Json]:
    """Return an object's fields with the unknown ones beside the others, where they came from."""
    return {**values.pop("extra"), **values}


def _known(kind: type, values: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields of a dataclass out of JSON, with those that it does not have as `extra`."""
    names = {item.name for item in dataclasses.fields(kind)} - {"extra"}
    known = {key: value for key, value in values.items() if key in names}
    return {**known, "extra": {key: value for key, value in values.items() if key not in names}}


def check_onnx_output(path: Path) -> None:
    """Raise what would keep an ONNX file from being written there: OutputError.

    InvalidValueError for a name by which it would be taken for something else when it is loaded.
    """
    if path.suffix == ".safetensors" or is_compiled(path):
        raise InvalidValueError(
            f"{path.name} is the name of {'a checkpoint' if path.suffix == '.safetensors' else 'an engine'},"
            " and what is written is an ONNX file",
            hint=f"call it {path.stem}.onnx; edgecnn compile makes engines of it",
        )
    files.check_writable(path)


def is_compiled(path: Path) -> bool:
    """Return whether a file is an engine by its name: it carries no manifest inside."""
    return path.suffix not in (".onnx", ".safetensors") and path.suffix in compiled_suffixes()


def sidecar(path: str | Path) -> Path:
    """Return where the manifest of a file that cannot carry one lies: `<file>.json`."""
    return Path(f"{path}.json")


def read_manifest(path: str | Path, stream: BinaryIO | None = None) -> Manifest | None:
    """Return the manifest of a model file or a checkpoint, or None if it has none (a foreign file).

    `stream` is an ONNX file that is open already. Needs neither the onnx nor the safetensors package.
    Raises ArtifactError for a missing, empty, truncated or non-model file.
    """
    path = Path(path)
    if wrong := files.unlike_file(path, "a model file"):
        checkpoint = path.suffix == ".safetensors"
        how = "train mobilenet --data digits -o m.safetensors" if checkpoint else "export mobilenet -o m.onnx"
        raise ArtifactError(f"{path} is {wrong}", hint=f"make one with: edgecnn {how}")
    if path.suffix not in (".onnx", ".safetensors") and sidecar(path).is_file():
        with open(sidecar(path), "rb") as beside:
            text = beside.read(_MOST_TEXT + 1)
        return _read(text, sidecar(path), "copy it again, or compile the model again")
    if is_compiled(path):
        return None
    inside = path.suffix == ".safetensors"
    found = (_safetensors_metadata(path) if inside else onnx_metadata.read(path, stream)).get(METADATA_KEY)
    return None if found is None else _read(found, path, "export the model again")


def _read(text: str | bytes, place: Path, remedy: str) -> Manifest:
    try:
        return Manifest.from_json(text)
    except ArtifactError as error:
        raise ArtifactError(f"{place}: {error}", hint=error.hint or remedy) from error


def _safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file: its header is JSON, after its length in eight bytes."""
    try:
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_MAX_HEADER, path.stat().st_size - 8):
                raise ValueError(f"a header of {length} bytes")
            metadata: dict[str, str] = json.loads(stream.read(length)).get("__metadata__", {})
            if not _fits(metadata, Mapping[str, str]):
                raise ValueError("its metadata are no texts")
            return dict(metadata)
    except (ValueError, AttributeError, RecursionError, struct.error) as error:
        raise ArtifactError(
            f"{path} is no safetensors file, or a damaged one: {error}", hint="copy it again"
        ) from error
