"""Make a network from its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from edgecnn.errors import WeightsError
from edgecnn.image_size import Size, SizeLike
from edgecnn.optional_packages import require
from edgecnn.zoo.architecture import Architecture, check_counts
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.input_errors import fitting
from edgecnn.zoo.width import check_alpha

if TYPE_CHECKING:
    from torch import nn

    from edgecnn.zoo.weights import Checkpoint


def create(
    name: str | Architecture,
    *,
    alpha: float = 1.0,
    num_classes: int | None = None,
    in_channels: int | None = None,
    resolution: SizeLike | None = None,
    phi: float | None = None,
    backbone: str | None = None,
    weights: str | Checkpoint = "random",
    seed: int = 0,
) -> nn.Module:
    """Return a network in evaluation mode.

    `alpha` scales every layer's width; `num_classes` and `in_channels` default to the reference
    network's, and so does `resolution`, which only matters to the few networks with a layer whose
    shape depends on the input's size. `phi` is compound scaling, for "efficientnet". `backbone` is what
    a head stands on: "mobilenet_v2" under "ssdlite". `weights` is "random" (drawn by `seed`, leaving
    torch's own generator as it was), "imagenet" (under a head the backbone's), "coco", a checkpoint
    file, "hf:OWNER/REPO@REVISION", or what `zoo.weights.find` found; an EdgecnnWarning says what of it
    was adapted.

    Raises UnknownNameError (with suggestions), InvalidValueError for an unusable alpha, number of
    classes or channels, WeightsError for a checkpoint that does not fit.
    """
    torch = require("torch", "building a network")
    from edgecnn.zoo.initialize import initialize
    from edgecnn.zoo.weights import find, load_weights

    row = name if isinstance(name, Architecture) else architecture(name, phi, backbone)
    # Constructors draw default weights from torch's global generator; the caller's draws must not shift.
    with torch.random.fork_rng(devices=[]):
        network = build(
            row, alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution
        )
        checkpoint = find(row, weights) if isinstance(weights, str) and weights != "random" else weights
        # A checkpoint may leave out the classifier, or be of the backbone alone.
        if isinstance(checkpoint, str) or checkpoint.backbone or num_classes is not None:
            initialize(network, seed)
        if not isinstance(checkpoint, str):
            fill = _fill_backbone if checkpoint.backbone else load_weights
            fill(network, row, checkpoint)
    return network.eval()


def _fill_backbone(network: nn.Module, row: Architecture, checkpoint: Checkpoint) -> None:
    """Load a classifier's weights into what of it stands under a head."""
    from torch import nn

    from edgecnn.zoo.weights import load_weights

    backbone = architecture(row.arguments["backbone"])
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    classifier = build(backbone, in_channels=first.in_channels, resolution=row.size)
    load_weights(classifier, backbone, checkpoint)
    whole, part = classifier.state_dict(), network.get_submodule("backbone.network")
    try:
        part.load_state_dict({key: whole[key] for key in part.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"the weights of {backbone.name} do not fit under {row.name}",
            hint="they are those of alpha 1, and of a backbone that nothing was changed of",
        ) from error


def build(
    row: Architecture,
    *,
    alpha: float = 1.0,
    num_classes: int | None = None,
    in_channels: int | None = None,
    resolution: SizeLike | None = None,
) -> nn.Module:
    """Return the bare network of a row, with whatever weights its constructors leave.

    Under `torch.device("meta")` it takes no memory: enough to count and to inspect.
    """
    require("torch", "building a network")
    check_alpha(alpha)
    classes = row.num_classes if num_classes is None else num_classes
    channels = row.in_channels if in_channels is None else in_channels
    check_counts(classes=classes, channels=channels)
    arguments = dict(row.arguments)
    size = row.size if resolution is None else Size.of(resolution)
    if row.needs_resolution:
        arguments["resolution"] = size.height if size.is_square else size
    module, function = row.build.split(":")
    make = cast("Callable[..., nn.Module]", getattr(importlib.import_module(module), function))
    with fitting(size):
        return make(alpha=alpha, num_classes=classes, in_channels=channels, **arguments)
