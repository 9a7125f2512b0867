"""The manifest of a checkpoint of ours, with everything in it that building the network needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgecnn.artifact import Manifest, TensorSpec, read_manifest
from edgecnn.errors import ArtifactError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.zoo.architecture import MAX_CHANNELS, MAX_CLASSES
from edgecnn.zoo.reference import are_arguments


def read(path: str) -> Manifest:
    """Return the manifest of a checkpoint. Raises ArtifactError: damaged, or it names no network."""
    manifest = read_manifest(path)
    if manifest is None or manifest.architecture is None:
        raise ArtifactError(
            f"{path} does not say which network it belongs to",
            hint=f"name the architecture: edgecnn export NAME --weights {path}",
        )
    wrong = next((name for name, fits in _requirements(manifest) if not fits()), None)
    if wrong is not None:
        raise ArtifactError(f"{path} says of its network what cannot be: {wrong}", hint="copy it again")
    return manifest


def _requirements(manifest: Manifest) -> list[tuple[str, Callable[[], bool]]]:
    """Return what the network is built from, and whether it can be; a later one may rely on those before."""
    steps = manifest.lineage
    labels = manifest.labels if isinstance(manifest.labels, tuple) else ()
    head = manifest.task is not None  # of which the lineage says how many classes it has
    own = ":" in str(manifest.architecture)  # a reference to code, whose outputs are what they are
    return [
        ("its architecture", lambda: isinstance(manifest.architecture, str)),
        ("its width (alpha)", lambda: _is_number(manifest.alpha)),
        ("its resolution", lambda: manifest.resolution is None or _is_size_of_image(manifest.resolution)),
        ("its weights", lambda: isinstance(manifest.weights, str | None)),
        ("its inputs", lambda: _has_second_axis(manifest.inputs, rank=4, most=MAX_CHANNELS)),
        ("its outputs", lambda: own or head or _has_second_axis(manifest.outputs, rank=2, most=MAX_CLASSES)),
        ("its preprocessing", lambda: isinstance(manifest.preprocessing, Mapping | None)),
        ("its labels", lambda: all(isinstance(name, str) for name in labels)),
        ("its lineage", lambda: bool(steps) and all(isinstance(step.parameters, Mapping) for step in steps)),
        ("how it was built", lambda: not own or any(step.what == "build" for step in steps)),
        ("its arguments", lambda: all(are_arguments(step.parameters.get("arguments", {})) for step in steps)),
        ("its scaling (phi)", lambda: _is_number(steps[0].parameters.get("phi") or 0)),
        ("its classes", lambda: all(_is_classes(step.parameters.get("classes")) for step in steps)),
        ("its backbone", lambda: isinstance(steps[0].parameters.get("backbone"), str | None)),
        ("its structure", lambda: all(_is_structure(step.parameters.get("structure", {})) for step in steps)),
    ]


def _has_second_axis(specs: Sequence[TensorSpec], rank: int, most: int) -> bool:
    """Return whether there is one tensor of this rank, with at most so many channels or classes."""
    if len(specs) != 1 or len(specs[0].shape) != rank:
        return False
    count = specs[0].shape[1]
    return type(count) is int and 1 <= count <= most


def _is_classes(value: Any) -> bool:
    return value is None or (type(value) is int and 1 <= value <= MAX_CLASSES)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 1_000_000


def _is_size_of_image(value: Any) -> bool:
    try:
        return all(map(_is_count, Size.of(value)))
    except InvalidValueError:
        return False


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e6


def _is_structure(value: Any) -> bool:
    """Return whether it is module: attribute: number or shape, as `structure.differences` writes it."""
    return isinstance(value, Mapping) and all(
        isinstance(changes, Mapping) and all(map(_is_size, changes.values())) for changes in value.values()
    )


def _is_size(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, list) and all(map(_is_count, value)))
