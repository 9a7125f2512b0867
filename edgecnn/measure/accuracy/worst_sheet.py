"""Draw the images of which a network keeps least of its reference's boxes or pixels: both answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from edgecnn.data.dataset import Images
from edgecnn.data.unreadable import image_name
from edgecnn.figure import drawing, shorten
from edgecnn.image_size import Size
from edgecnn.measure.accuracy.measured_parts import Measured
from edgecnn.parity import Output
from edgecnn.runtime import labels, prepare
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import open_image
from edgecnn.tasks import Task
from edgecnn.tasks.compare import same_outputs

#: Images on a sheet, and in a row of it.
_MOST, _COLUMNS = 12, 3


@dataclass(frozen=True)
class Kept:
    """How much of what a reference finds in one image another network finds too."""

    #: Which one of the data set's images.
    row: int
    share: float
    #: The network's outputs for it, and its reference's.
    outputs: Sequence[Output]
    reference: Sequence[Output]


def worst(task: Task, given: Measured) -> tuple[Kept, ...]:
    """Return the images of which least is kept, the worst first; none of a task without a share for each."""
    if len(given.outputs) < 2 or task.decoder is None:
        return ()
    found = []
    ours = same_outputs(given.outputs[1], given.outputs[0], "the network")
    for place in range(given.compared):
        one, other = ([replace(item, values=item.values[place : place + 1]) for item in outputs]
                      for outputs in (ours, given.outputs[1]))  # fmt: skip
        kept = task.kept(other, one)
        if kept is not None and kept.share is not None:
            found.append(Kept(int(given.rows[place]), kept.share, one, other))
    order = np.argsort([item.share for item in found], kind="stable")[:_MOST]
    # Of so many images alone: their outputs may be large.
    return tuple(found[index] for index in order)


def draw(kept: Sequence[Kept], engine: Engine, images: Images, title: str, path: Path) -> None:
    """Write a sheet on which each picture stands twice: what the reference finds, and what the network does.

    Raises MissingPackageError without matplotlib.
    """
    rows = max(1, -(-len(kept) // _COLUMNS))
    with drawing(path, title, 5.2 * _COLUMNS, 2.9 * rows + 0.7 if kept else 1) as figure:
        grid = figure.subplots(rows, 2 * _COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        names = partial(labels.names, engine.manifest.labels if engine.manifest else None)
        for number, item in enumerate(kept):
            picture = open_image(images[item.row])
            view = prepare.view(engine.preprocessing, Size(picture.height, picture.width))
            for side, outputs in enumerate((item.reference, item.outputs)):
                axes = grid[number // _COLUMNS, 2 * (number % _COLUMNS) + side]
                (answer,) = engine.task.answers(outputs, names, None, [view])
                axes.imshow(engine.task.drawn(picture, answer))
                name = shorten(image_name(images[item.row], item.row), 24)
                axes.set_title(f"{name}\nthe reference" if not side else f"{item.share:.0%} kept", fontsize=8)
