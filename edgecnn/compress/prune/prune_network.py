"""From a network to the same network with fewer channels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgecnn.compress.prune.allocate import allocate
from edgecnn.compress.prune.channel_groups import Groups, Mask, named_tensors, sliced
from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.importance import Batches, Loss, scores
from edgecnn.compress.prune.prune_request import SPREADS
from edgecnn.compress.prune.recalibrate import recalibrate
from edgecnn.errors import CodeError, InvalidValueError, PruningError
from edgecnn.image_size import Size
from edgecnn.progress import Progress, silent
from edgecnn.zoo import cost, structure
from edgecnn.zoo.cost import Cost

#: A training loop: changes the network in place, returns its accuracy if it measures it.
Finetune = Callable[[nn.Module], "float | None"]


@dataclass(frozen=True)
class Pruned:
    """A pruned network, and what pruning did."""

    network: nn.Module
    #: Of the network before, and of this one.
    before: Cost
    after: Cost
    #: Channels that a layer could lose, and how many of them are left.
    channels: tuple[int, int]
    #: What the last fine-tuning said; None if there was none.
    accuracy: float | None = None


def prune(
    network: nn.Module,
    example: Tensor,
    *,
    goal: Goal,
    importance: str = "magnitude",
    spread: str = "uniform",
    align: int = 8,
    batches: Callable[[], Batches] | None = None,
    loss: Loss | None = None,
    rounds: int = 1,
    finetune: Finetune | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Pruned:
    """Return a copy of `network` without the channels that matter least, as many as the goal asks for.

    `example` is an input (N, C, H, W), whose shape counts. `importance` and `spread` are those of
    `importance.scores` and `allocate.allocate`; `align` is the multiple that channel counts should have.
    The image's channels and the logits stay. With several `rounds` each takes its part, in equal ratios,
    and channels are judged anew, after `finetune` if there is one; it is called after the last round too.
    `batches` gives labelled images, for "taylor", whose `loss` is cross-entropy unless given, and for new
    statistics of batch normalization (`recalibrate`), without which a pruned network answers by chance
    until it is fine-tuned.

    Raises PruningError if the network cannot be pruned or not so far, InvalidValueError for a goal that is
    met already, an unknown importance or spread.
    """
    groups = _prunable(network, example, spread, align, rounds)
    before = groups.cost(groups.everything())
    whole = _measure(groups, goal.kind)(groups.everything())
    wanted = goal.of(whole)
    channels, accuracy, current = _count(groups), None, network
    for number in range(1, rounds + 1):
        progress(f"prune: round {number} of {rounds}")
        if number > 1:
            groups = Groups(current, example, align)
        most = whole * (wanted / whole) ** (number / rounds) if number < rounds else wanted
        measure = _measure(groups, goal.kind)
        if number > 1 and measure(groups.everything()) <= most:
            continue
        judged = scores(current, groups, importance, batches() if batches else None, seed, loss)
        keep = allocate(groups, judged, spread, measure, most)
        current = without(current, groups, keep)
        if batches is not None:
            recalibrate(current, batches())
        if finetune is not None:
            progress(f"fine-tune: round {number} of {rounds}")
            accuracy = finetune(current)
    return Pruned(
        current,
        before,
        _checked(current, example, groups.cost(keep)),
        (channels, _left(groups, keep)),
        accuracy,
    )


def _prunable(network: nn.Module, example: Tensor, spread: str, align: int, rounds: int) -> Groups:
    """Return what can be pruned. Raises InvalidValueError, or PruningError where nothing can be."""
    if spread not in SPREADS:
        raise InvalidValueError(
            f"{spread!r} is no way to spread pruning", hint=f"one of {', '.join(SPREADS)}"
        )
    if align < 1 or rounds < 1:
        raise InvalidValueError("the alignment and the number of rounds are at least 1")
    groups = Groups(network, example, align)
    if not groups.groups:
        raise PruningError(
            "no layer of this network can lose channels: all are tied to the image, to the classes or to each"
            " other, or already as narrow as the alignment",
            hint="a smaller `align`, or a width multiplier (`alpha`), may help",
        )
    return groups


def without(network: nn.Module, groups: Groups, keep: Mask) -> nn.Module:
    """Return a copy of `network` without the channels that a mask leaves out."""
    tensors = sliced(named_tensors(network), groups, keep)
    pruned = copy.deepcopy(network)
    structure.restructure(pruned, structure.from_shapes(network, groups.shapes(keep)))
    with torch.no_grad():
        for name, tensor in named_tensors(pruned):
            tensor.copy_(tensors[name])
    return pruned


def _measure(groups: Groups, kind: str) -> Callable[[Mask], float]:
    if kind == "channels":
        return lambda keep: _left(groups, keep)
    return lambda keep: getattr(groups.cost(keep), kind)


def _count(groups: Groups) -> int:
    return sum(len(group.labels) * group.each for group in groups.groups)


def _left(groups: Groups, keep: Mask) -> int:
    return sum(int(keep[group.labels].sum()) * group.each for group in groups.groups)


def _checked(network: nn.Module, example: Tensor, predicted: Cost) -> Cost:
    """Return what the pruned network costs; a network whose code has channel counts in it fails here."""
    try:
        found = cost.count(network, example.shape[1], Size(*example.shape[2:]))
    except (InvalidValueError, CodeError) as error:
        where = f" ({error})" if isinstance(error, CodeError) else ""
        raise PruningError(
            f"this network's code rests on its channel counts: it does not run without some of them{where}",
            hint="networks of the zoo do; in your own, take sizes from the tensors",
        ) from error
    if found != predicted:
        raise PruningError(f"the pruned network costs {found}, where {predicted} was predicted")
    return found
