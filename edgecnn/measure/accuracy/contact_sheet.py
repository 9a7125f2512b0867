"""Draw the images whose class changed, with both answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.data.dataset import Images
from edgecnn.errors import InvalidValueError
from edgecnn.figure import BLUE, GREY, VERMILION, drawing
from edgecnn.measure.accuracy.accuracy_plot import short
from edgecnn.measure.accuracy.agreement import Changed
from edgecnn.measure.accuracy.evaluate import Accuracy
from edgecnn.runtime import prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from edgecnn.runtime.preprocessing import Preprocessing

#: Images on a sheet, and in a row of it.
_MOST, _COLUMNS = 40, 8
#: Which of the two is right, the model or its reference: colour of the frame, and what it says.
_FRAMES = {
    (False, True): (VERMILION, "lost: only the reference is right"),
    (True, False): (BLUE, "won: only the model is right"),
    (False, False): (GREY, "neither is right"),
}


def sheet_path(plot: Path) -> Path:
    """Return where the sheet goes that belongs to a plot: NAME_changed.png beside NAME.png."""
    return plot.with_name(f"{plot.stem}_changed{plot.suffix}")


def draw(accuracy: Accuracy, images: Images, preprocessing: Preprocessing, path: Path) -> None:
    """Write a sheet of the images that changed class, as the network sees them.

    Those of which the reference was surest come first; the frame says which of the two is right. Raises
    MissingPackageError without matplotlib, InvalidValueError for a result without a reference.
    """
    agreement = accuracy.agreement
    if agreement is None:
        raise InvalidValueError("without a reference no image has changed", hint="evaluate with one")
    changed = agreement.changed[:_MOST]
    rows = max(1, -(-len(changed) // _COLUMNS))
    some = f", the {len(changed)} of which the reference was surest" if len(changed) == _MOST else ""
    title = (
        f"{len(agreement.changed)} of {accuracy.n} images changed class from {agreement.reference.name} to"
        f" {accuracy.path.name}{some}"
    )
    with drawing(path, title, 1.75 * _COLUMNS, 2.3 * rows + 0.9 if changed else 1) as figure:
        grid = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, item in zip(grid.flat, changed, strict=False):
            axes.imshow(prepare.picture(preprocessing, images[item.row]), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_on()
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(color=_FRAMES[_right(item)][0], linewidth=4)
            axes.set_title(
                f"true {short(accuracy.names[item.label])}\n"
                f"was {short(accuracy.names[item.reference_answer])} {item.reference_confidence:.0%}\n"
                f"is {short(accuracy.names[item.answer])} {item.confidence:.0%}",
                fontsize=8,
            )
        if changed:
            _legend(figure, changed)


def _legend(figure: Figure, changed: Sequence[Changed]) -> None:
    from matplotlib.patches import Patch

    present = [frame for right, frame in _FRAMES.items() if right in map(_right, changed)]
    handles = [Patch(color=colour, label=label) for colour, label in present]
    figure.legend(handles=handles, ncols=len(handles), loc="outside lower center", frameon=False)


def _right(item: Changed) -> tuple[bool, bool]:
    """Return whether the model and its reference are right; both cannot be, for their answers differ."""
    return item.label == item.answer, item.label == item.reference_answer
