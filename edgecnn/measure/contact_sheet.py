"""Draw the images whose class changed, with both answers."""

from __future__ import annotations

from pathlib import Path

from edgecnn.data.dataset import Images
from edgecnn.errors import InvalidValueError
from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.measure.accuracy import Accuracy
from edgecnn.measure.accuracy_plot import short
from edgecnn.runtime.images import Preprocessing

#: Images on a sheet, and in a row of it.
_MOST, _COLUMNS = 40, 8
#: Frame of an image that the model got wrong and its reference right, the other way round, or neither.
_LOST, _WON, _OTHER = "#e45756", "#4c9f70", "#8a8f98"


def sheet_path(plot: Path) -> Path:
    """Return where the sheet goes that belongs to a plot: NAME_changed.png beside NAME.png."""
    return plot.with_name(f"{plot.stem}_changed{plot.suffix}")


def draw(accuracy: Accuracy, images: Images, preprocessing: Preprocessing, path: Path) -> None:
    """Write a sheet of the images that changed class, as the network sees them.

    Those of which the reference was surest come first. A red frame means that only the reference is right,
    a green one that only the model is. Raises MissingPackageError without matplotlib, InvalidValueError
    for a result without a reference.
    """
    agreement = accuracy.agreement
    if agreement is None:
        raise InvalidValueError("without a reference no image has changed", hint="evaluate with one")
    require("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    changed = agreement.changed[:_MOST]
    rows = max(1, -(-len(changed) // _COLUMNS))
    figure = Figure(figsize=(1.75 * _COLUMNS, 2.35 * rows + 0.6), layout="constrained")
    some = f", the {len(changed)} of which the reference was surest" if len(changed) == _MOST else ""
    figure.suptitle(
        f"{len(agreement.changed)} of {accuracy.n} images changed class from {agreement.reference.name} to"
        f" {accuracy.path.name}{some}",
        parse_math=False,
    )
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, item in zip(grid.flat, changed, strict=False):
        frame = preprocessing.frame(images[item.row])
        axes.imshow(frame if frame.shape[2] == 3 else frame[:, :, 0], cmap="gray", vmin=0, vmax=255)
        right = item.label == item.answer, item.label == item.reference_answer
        colour = {(False, True): _LOST, (True, False): _WON}.get(right, _OTHER)
        axes.set_axis_on()
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=colour, linewidth=3)
        axes.set_title(
            f"true {short(accuracy.names[item.label])}\n"
            f"was {short(accuracy.names[item.reference_answer])} {item.reference_confidence:.0%}\n"
            f"is {short(accuracy.names[item.answer])} {item.confidence:.0%}",
            fontsize=7,
            parse_math=False,
        )
    write(figure, path)
