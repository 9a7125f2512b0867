"""From which network to the network itself, with its weights and how it came about."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from edgecnn.artifact import Step
from edgecnn.errors import EdgecnnWarning
from edgecnn.zoo import checkpoint, library_networks, own_network, reparameterize, weights
from edgecnn.zoo.check_weights import demand_finite
from edgecnn.zoo.create import build, create
from edgecnn.zoo.given_module import GivenModule
from edgecnn.zoo.reference import Reference, read_arguments
from edgecnn.zoo.spec import NetworkSpec


@dataclass(frozen=True)
class Opened:
    """A network in evaluation mode, what of its weights was adapted, and how it came about."""

    network: nn.Module
    notes: list[str]
    lineage: tuple[Step, ...]
    #: "random", "imagenet", what `weights` named, or "its own"; only whoever opens code knows what it brings.
    origin: str
    #: Layers that its code draws anew, beside others whose weights it brings.
    new_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        demand_finite(self.network)


def open_network(spec: NetworkSpec) -> Opened:
    """Return the network; code that was named runs.

    Raises WeightsError for weights that cannot be loaded or are not finite, CodeError for code that fails.
    """
    if isinstance(spec, GivenModule):
        return Opened(spec.module.eval(), [], (Step("build", spec.asked()),), spec.origin)
    if spec.is_checkpoint:
        loaded = checkpoint.load(spec.name, num_classes=spec.num_classes, seed=spec.seed, code=spec.code)
        return Opened(loaded.network, loaded.notes, loaded.lineage, spec.origin)
    if spec.reference is not None:
        return _of_code(spec, spec.reference)
    checkpoint_file = None if spec.weights == "random" else weights.find(spec.architecture, spec.weights)
    with _noted() as notes:
        network = create(
            spec.architecture,
            alpha=spec.alpha,
            num_classes=spec.num_classes,
            in_channels=spec.in_channels,
            resolution=spec.size,
            weights=checkpoint_file or "random",
            seed=spec.seed,
        )
    size = {"alpha": spec.alpha, "phi": spec.phi, "resolution": spec.size.said}
    if spec.architecture.backbone is not None:
        size["backbone"] = spec.architecture.backbone
    steps = [Step("build", {"architecture": spec.architecture.name, **size, "classes": spec.classes})]
    if checkpoint_file is None:
        steps.append(Step("initialize", seed=spec.seed))
    else:
        form = {"form": reparameterize.FOLDED} if reparameterize.is_folded(network.state_dict()) else {}
        steps.append(Step("load weights", {**checkpoint_file.to_json(), "notes": notes, **form}))
    return Opened(network, notes, tuple(steps), spec.origin)


def bare(spec: NetworkSpec) -> nn.Module:
    """Return the network as its code builds it, whatever its weights, before anything was pruned."""
    if isinstance(spec, GivenModule):
        return spec.module
    if spec.reference is None:
        return build(
            spec.architecture,
            alpha=spec.width,
            num_classes=spec.classes,
            in_channels=spec.preprocessing.channels,
            resolution=spec.size,
        )
    if spec.manifest is not None:
        changed = None if spec.classes == spec.known_classes else spec.num_classes
        return own_network.again(
            spec.reference, spec.manifest, read_arguments(spec.args), classes=changed
        ).network
    return _built(spec, spec.reference).network


def _built(spec: NetworkSpec, reference: Reference, *, weights: bool = False) -> own_network.Built:
    return own_network.build(
        reference,
        read_arguments(spec.args),
        alpha=spec.alpha,
        classes=spec.num_classes,
        channels=spec.in_channels,
        weights=weights,
        seed=spec.seed,
    )


def _of_code(spec: NetworkSpec, reference: Reference) -> Opened:
    """Build a network of the user's own or of a library, and load a file of weights if one was named."""
    whole = spec.weights == "imagenet"
    file = None if spec.weights in ("random", "imagenet") else weights.find(spec.architecture, spec.weights)
    built = _built(spec, reference, weights=whole)
    steps = [
        own_network.step(reference, built, spec.seed, resolution=spec.size.said, classes=spec.num_classes)
    ]
    if file is None:
        new = built.drawn if built.origin == own_network.ORIGIN else ()
        return Opened(built.network, library_networks.notes(reference), tuple(steps), built.origin, new)
    with _noted() as notes:
        weights.load_weights(built.network, spec.architecture, file)
    steps.append(Step("load weights", {**file.to_json(), "notes": notes}))
    return Opened(built.network.eval(), notes, tuple(steps), spec.origin)


@contextlib.contextmanager
def _noted() -> Iterator[list[str]]:
    """Yield the list of what is warned of inside, complete at the end."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EdgecnnWarning)
        yield notes
    notes += [str(item.message) for item in caught if issubclass(item.category, EdgecnnWarning)]
