"""Make a network from its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

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
    weights: str | Checkpoint = "random",
    seed: int = 0,
) -> nn.Module:
    """Return a network in evaluation mode.

    `alpha` scales every layer's width; `num_classes` and `in_channels` default to the reference
    network's, and so does `resolution`, which only matters to the few networks with a layer whose
    shape depends on the input's size. `phi` is compound scaling, for "efficientnet". `weights` is
    "random" (drawn by `seed`, leaving torch's own generator as it was), "imagenet", a checkpoint
    file, "hf:OWNER/REPO@REVISION", or what `zoo.weights.find` found; an EdgecnnWarning says what of it was
    adapted.

    Raises UnknownNameError (with suggestions), InvalidValueError for an unusable alpha, number of
    classes or channels, WeightsError for a checkpoint that does not fit.
    """
    torch = require("torch", "building a network")
    from edgecnn.zoo.initialize import initialize
    from edgecnn.zoo.weights import load_weights

    row = name if isinstance(name, Architecture) else architecture(name, phi)
    # Constructors draw default weights from torch's global generator; the caller's draws must not shift.
    with torch.random.fork_rng(devices=[]):
        network = build(
            row, alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution
        )
    if weights == "random" or num_classes is not None:  # a checkpoint may leave out the classifier
        initialize(network, seed)
    if weights != "random":
        load_weights(network, row, weights)
    return network.eval()


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
