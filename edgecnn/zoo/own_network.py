"""A network that is none of the catalogue's: built by the user's code, or by a library, from a reference."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecnn.artifact import Manifest, Step
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.library_networks import library
from edgecnn.zoo.reference import CLASSES, Reference

if TYPE_CHECKING:
    from torch import nn

#: What the lineage and the manifest say of weights that the code itself brings.
ORIGIN = "its own"
#: Share of a network's weights from which on it is a new one, if they depend on the seed.
_DRAWN = 0.5


@dataclass(frozen=True)
class Built:
    """A network in evaluation mode as its code gives it."""

    network: nn.Module
    #: With which arguments, and what the lineage says of the code.
    arguments: Mapping[str, Any]
    recorded: Mapping[str, Any]
    #: Layers whose weights were drawn, for another seed gives others; all or none where that is known.
    drawn: tuple[str, ...] = ()
    #: "random", ORIGIN, or the library's own.
    origin: str = ORIGIN


def row(reference: Reference, *, resolution: Any, channels: int | None) -> Architecture:
    """Return what stands for a row of the catalogue.

    Raises UnknownNameError or MissingPackageError of a library, InvalidValueError for code of the user's own
    without a `resolution`.
    """
    if reference.library:
        asked = library(reference)
        return asked.row(asked.open(), reference.function)
    if resolution is None:
        raise InvalidValueError(
            f"{reference.name} does not say how large its images are", hint="`size` 224, or HEIGHTxWIDTH"
        )
    prepared = Preprocessing().with_channels(channels or 3)
    return Architecture(reference.name, "yours", 0, "", "", resolution, prepared, labels="", num_classes=0)


def build(
    reference: Reference,
    given: Mapping[str, Any],
    *,
    alpha: float = 1.0,
    classes: int | None = None,
    channels: int | None = None,
    weights: bool = False,
    seed: int = 0,
) -> Built:
    """Build a network, with the weights of its library or those that the code gives it.

    Raises CodeError, InvalidValueError for arguments that it does not take, WeightsError.
    """
    import torch

    if reference.library:
        asked = library(reference)
        if alpha != 1:
            raise InvalidValueError(f"{reference.name} has no width multiplier", hint="leave out `alpha`")
        arguments = asked.arguments(given, classes, channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = asked.network(reference.function, arguments, weights=weights).eval()
        version = importlib.metadata.version(asked.package)
        origin = "imagenet" if weights else "random"
        return Built(network, arguments, {"version": version}, origin=origin)
    from edgecnn.zoo import user_code

    reference.demand()
    code = user_code.load(reference)
    arguments = code.arguments(
        given, alpha=None if alpha == 1 else alpha, num_classes=classes, in_channels=channels
    )
    network = code.build(arguments, seed)
    return Built(
        network, arguments, {"code_sha256": code.sha256}, *_drawn(network, code.build(arguments, seed + 1))
    )


def _drawn(network: nn.Module, other: nn.Module) -> tuple[tuple[str, ...], str]:
    """Return the layers whose weights another seed gives otherwise, and what that says of their origin."""
    theirs = dict(other.named_parameters())
    layers: dict[str, None] = {}
    drawn = total = 0
    for name, value in network.named_parameters():
        if value.ndim < 2:  # biases and normalizations start at constants
            continue
        total += value.numel()
        if name not in theirs or theirs[name].shape != value.shape or not value.equal(theirs[name]):
            drawn += value.numel()
            layers[name.rpartition(".")[0]] = None
    return tuple(layers), "random" if total and drawn >= _DRAWN * total else ORIGIN


def step(reference: Reference, built: Built, seed: int, **more: Any) -> Step:
    """Return the step of the lineage that says how a network was built."""
    parameters = {
        "architecture": reference.name,
        "arguments": dict(built.arguments),
        **built.recorded,
        **more,
    }
    return Step("build", parameters, seed)


def recorded_build(manifest: Manifest) -> Mapping[str, Any]:
    """Return what the lineage of a checkpoint says of its code: the last time that it was built."""
    return [step.parameters for step in manifest.lineage if step.what == "build"][-1]


def recorded_classes(manifest: Manifest) -> int:
    """Return the number of classes that its code was told; 0 for none."""
    arguments = recorded_build(manifest).get("arguments", {})
    return next((value for key, value in arguments.items() if key in CLASSES and type(value) is int), 0)


def again(
    reference: Reference,
    manifest: Manifest,
    given: Mapping[str, Any],
    *,
    classes: int | None = None,
    seed: int = 0,
) -> Built:
    """Build the network of a checkpoint, as it was before pruning.

    Its arguments are those that were recorded, or that are `given`. `reference` is what the user named; with
    another number of `classes` than was recorded the code is told.
    """
    recorded = recorded_build(manifest).get("arguments", {})
    names = (library(reference).num_classes,) if reference.library else CLASSES
    kept = {key: value for key, value in recorded.items() if classes is None or key not in names}
    return build(reference, {**kept, **given}, classes=classes, seed=seed)


def changed(reference: Reference, manifest: Manifest, built: Built) -> list[str]:
    """Return a note if the code of a checkpoint is not what it was."""
    before = recorded_build(manifest)
    return [
        f"the {'code' if key == 'code_sha256' else 'version'} of {reference.name} is not what this was made"
        f" with: {str(value)[:12]}, and was {str(before.get(key))[:12]}"
        for key, value in built.recorded.items()
        if before.get(key) != value
    ]
