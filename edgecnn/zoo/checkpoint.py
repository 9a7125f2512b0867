"""A network's weights in a safetensors file, with the manifest inside: enough to build it again.

Nothing is pickled. The manifest names the architecture; what pruning changed of it stands in the lineage
(`structure.py`).
"""

from __future__ import annotations

import importlib.metadata
import textwrap
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn import __version__, files
from edgecnn.artifact import METADATA_KEY, Manifest, Step, TensorSpec
from edgecnn.errors import ArtifactError, WeightsError
from edgecnn.optional_packages import require
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import cost, network_outputs, own_network, reparameterize
from edgecnn.zoo.create import build
from edgecnn.zoo.decoder import decoder, task
from edgecnn.zoo.initialize import initialize
from edgecnn.zoo.reference import read_arguments
from edgecnn.zoo.spec import NetworkSpec
from edgecnn.zoo.state_file import memory_limit, read_state
from edgecnn.zoo.structure import restructure

_MAKERS = ("torch", "numpy")


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode and what its checkpoint says of it."""

    network: nn.Module
    manifest: Manifest
    #: What of the weights was left out.
    notes: list[str]
    #: How it came about; beyond the manifest's, code that was told another number of classes.
    lineage: tuple[Step, ...]


def describe(
    spec: NetworkSpec,
    network: nn.Module,
    lineage: tuple[Step, ...],
    *,
    preprocessing: Preprocessing,
    labels: str | tuple[str, ...] | None,
    weights: str,
) -> Manifest:
    """Return the manifest of a network that was made from `spec`, trained or pruned."""
    size, channels = preprocessing.size, preprocessing.channels
    tried = cost.trial(network, channels, size)
    return Manifest(
        inputs=(TensorSpec("input", ("batch", channels, *size), "float32", "NCHW"),),
        outputs=tuple(
            network_outputs.spec(name, ("batch", *values.shape[1:]), values.dtype)
            for name, values in tried.outputs.items()
        ),
        task=task(spec),
        decoder=decoder(spec, network),
        preprocessing=preprocessing.to_json(),
        labels=labels,
        architecture=spec.recorded_name,
        alpha=spec.width,
        resolution=size.said,
        params=tried.cost.params,
        macs=tried.cost.macs,
        weights=weights,
        lineage=lineage,
        versions={"edgecnn": __version__, **{name: importlib.metadata.version(name) for name in _MAKERS}},
    )


def save(path: str | Path, network: nn.Module, manifest: Manifest) -> str:
    """Write weights and manifest, whole or not at all; return the SHA-256 of the file. Raises OutputError."""
    safetensors = require("safetensors.torch", "writing a checkpoint")
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    content: bytes = safetensors.save(tensors, {METADATA_KEY: manifest.to_json()})
    files.write_atomic(path, content)
    return files.sha256(path)


def load(
    path: str | Path,
    *,
    num_classes: int | None = None,
    seed: int = 0,
    code: str | None = None,
    args: tuple[str, ...] = (),
) -> Loaded:
    """Build the network of a checkpoint and fill it.

    With another number of classes the classifier starts anew, drawn by `seed`. `code` names the code of a
    network of the user's own, `args` are KEY=VALUE in place of recorded ones. Raises ArtifactError for a file
    that is none of ours, or whose code nobody named, WeightsError for weights that do not fit, CodeError for
    code that fails.
    """
    spec = NetworkSpec(str(path), code=code, args=args)
    manifest = spec.manifest
    if manifest is None:
        raise ArtifactError(f"{path} is no checkpoint", hint="its name must end with .safetensors")
    known, lineage = spec.known_classes, manifest.lineage
    if num_classes == known:
        num_classes = None
    with torch.random.fork_rng(devices=[]):
        if spec.reference is None:
            _check_size(path, spec, manifest)
            network, notes = _build(spec, manifest, num_classes or known), []
        else:
            built = own_network.again(
                spec.reference, manifest, read_arguments(args), classes=num_classes, seed=seed
            )
            network, notes = built.network, own_network.changed(spec.reference, manifest, built)
            _restructured(network, manifest)
            if num_classes is not None:
                told = {"resolution": spec.size.said, "classes": num_classes}
                lineage = (*lineage, own_network.step(spec.reference, built, seed, **told))
    state = read_state(Path(path), memory_limit(network)).tensors
    anew: list[str] = []
    if num_classes is not None:
        if spec.reference is None:  # code has drawn its own
            initialize(network, seed)
        own = network.state_dict()
        heads = getattr(network, "predictors", None)
        anew = [
            key
            for key in own
            if key in state
            and (_is_classifier(state[key], own[key], known) if heads is None else key.startswith(heads))
        ]
        state |= {key: own[key] for key in anew}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise WeightsError(f"{path} does not fit the network that it names: {reason}") from error
    notes += [f"the classifier ({', '.join(anew)}) starts anew: {num_classes} classes"] if anew else []
    return Loaded(network.eval(), manifest, notes, lineage)


def _build(spec: NetworkSpec, manifest: Manifest, classes: int) -> nn.Module:
    """Return the bare network that a manifest describes, with the sizes that pruning left."""
    network = build(
        spec.architecture,
        alpha=manifest.alpha,
        num_classes=classes,
        in_channels=int(manifest.inputs[0].shape[1]),
        resolution=manifest.resolution,
    )
    if any(step.parameters.get("form") == reparameterize.FOLDED for step in manifest.lineage):
        reparameterize.fold(network)
    _restructured(network, manifest)
    return network


def _restructured(network: nn.Module, manifest: Manifest) -> None:
    """Give a network the sizes that pruning left, in place."""
    structures = [step.parameters["structure"] for step in manifest.lineage if "structure" in step.parameters]
    if structures:  # each was compared with the architecture's own
        restructure(network, structures[-1])


def _check_size(path: str | Path, spec: NetworkSpec, manifest: Manifest) -> None:
    """Raise WeightsError where the file is smaller than the network that it names, which may be any size."""
    with torch.device("meta"):
        network = _build(spec, manifest, spec.classes)
    needed = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    size = Path(path).stat().st_size
    if needed > size:
        raise WeightsError(
            f"{path} does not fit the network that it names: it has {size:,} bytes, the network {needed:,}",
            hint="copy it again",
        )


def _is_classifier(given: Tensor, own: Tensor, classes: int) -> bool:
    return given.shape[:1] == (classes,) and given.shape[1:] == own.shape[1:] and given.shape != own.shape
