"""From which network to the network itself, with its weights and how it came about."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from torch import nn

from edgecnn.artifact import Step
from edgecnn.errors import EdgecnnWarning
from edgecnn.zoo import checkpoint, reparameterize, weights
from edgecnn.zoo.check_weights import demand_finite
from edgecnn.zoo.create import create
from edgecnn.zoo.given_module import GivenModule
from edgecnn.zoo.spec import NetworkSpec


@dataclass(frozen=True)
class Opened:
    """A network in evaluation mode, what of its weights was adapted, and how it came about."""

    network: nn.Module
    notes: list[str]
    lineage: tuple[Step, ...]

    def __post_init__(self) -> None:
        demand_finite(self.network)


def open_network(spec: NetworkSpec) -> Opened:
    """Return the network. Raises WeightsError for weights that cannot be loaded or are not finite."""
    if isinstance(spec, GivenModule):
        return Opened(spec.module.eval(), [], (Step("build", spec.asked()),))
    if spec.is_checkpoint:
        loaded = checkpoint.load(spec.name, num_classes=spec.num_classes, seed=spec.seed)
        return Opened(loaded.network, loaded.notes, loaded.manifest.lineage)
    checkpoint_file = None if spec.weights == "random" else weights.find(spec.architecture, spec.weights)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EdgecnnWarning)
        network = create(
            spec.architecture,
            alpha=spec.alpha,
            num_classes=spec.num_classes,
            in_channels=spec.in_channels,
            resolution=spec.size,
            weights=checkpoint_file or "random",
            seed=spec.seed,
        )
    notes = [str(item.message) for item in caught if issubclass(item.category, EdgecnnWarning)]
    size = {"alpha": spec.alpha, "phi": spec.phi, "resolution": spec.size.said}
    steps = [Step("build", {"architecture": spec.architecture.name, **size, "classes": spec.classes})]
    if checkpoint_file is None:
        steps.append(Step("initialize", seed=spec.seed))
    else:
        form = {"form": reparameterize.FOLDED} if reparameterize.is_folded(network.state_dict()) else {}
        steps.append(Step("load weights", {**checkpoint_file.to_json(), "notes": notes, **form}))
    return Opened(network, notes, tuple(steps))
