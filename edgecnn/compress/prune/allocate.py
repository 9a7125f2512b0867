"""How many channels each layer keeps, so that the whole network meets a goal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecnn.compress.prune.channel_groups import Group, Groups, Mask
from edgecnn.compress.prune.importance import Scores
from edgecnn.errors import PruningError

_BISECTIONS = 40


def allocate(
    groups: Groups, scores: Scores, spread: str, measure: Callable[[Mask], float], most: float
) -> Mask:
    """Return the mask of least pruning under which `measure` is at most `most`.

    `spread` says how layers share the burden. "uniform": each loses the same share of its channels.
    "global": channels of all layers are ranked together by their score. Counts are those that the groups
    allow. Raises PruningError, with what is reachable, if the goal is out of reach.
    """
    ranked = [group for group in groups.groups if not np.isnan(scores[group.labels]).any()]
    if not ranked:
        raise PruningError(
            "none of the channels that could go has a score by this importance", hint="take magnitude"
        )
    orders = [group.labels[np.argsort(scores[group.labels], kind="stable")] for group in ranked]
    pooled = np.sort(np.concatenate([scores[group.labels] for group in ranked]))

    def counts(strength: float) -> list[int]:
        if spread == "uniform":
            return [_nearest(group, len(group.labels) * (1 - strength)) for group in ranked]
        bar = pooled[min(int(strength * len(pooled)), len(pooled) - 1)] if strength < 1 else np.inf
        return [_nearest(group, (scores[group.labels] >= bar).sum()) for group in ranked]

    def mask(kept: list[int]) -> Mask:
        keep = groups.everything()
        for order, count in zip(orders, kept, strict=True):
            keep[order[: len(order) - count]] = False
        return keep

    weak, strong = 0.0, 1.0
    if measure(mask(counts(strong))) > most:
        raise PruningError(
            f"pruning leaves at least {measure(mask(counts(strong))):,.0f}, where {most:,.0f} was asked for",
            hint="start from a smaller network or a smaller `alpha`, or choose a smaller `align`",
        )
    for _ in range(_BISECTIONS):
        middle = (weak + strong) / 2
        weak, strong = (weak, middle) if measure(mask(counts(middle))) <= most else (middle, strong)
    # Several layers change at once between the two; each that can do without the change is spared it.
    kept, before = counts(strong), counts(weak)
    for index, count in enumerate(before):
        spared = [*kept[:index], count, *kept[index + 1 :]]
        if count > kept[index] and measure(mask(spared)) <= most:
            kept = spared
    return mask(kept)


def _nearest(group: Group, wanted: float) -> int:
    return min(group.counts, key=lambda count: (abs(count - wanted), -count))
