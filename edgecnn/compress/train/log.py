"""What a training run did, epoch by epoch: as a table for programs, and as a plot for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecnn import figure as figure_files
from edgecnn import files
from edgecnn.errors import OutputError
from edgecnn.lazy import require

Rows = Sequence[Mapping[str, Any]]


def check(path: Path) -> None:
    """Raise OutputError unless a log can be written there."""
    if path.suffix not in (".csv", ".json"):
        raise OutputError(f"a log cannot be written as {path.name}", hint="name it FILE.csv or FILE.json")
    files.check_writable(path)


def write(path: Path, rows: Rows) -> None:
    """Write one row for each epoch, as CSV or JSON by the file's ending. Raises OutputError."""
    if path.suffix == ".json":
        content = json.dumps(list(rows), indent=1)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    files.write_atomic(path, content.encode())


def plot(path: Path, rows: Rows, title: str) -> None:
    """Draw loss and accuracy over the epochs. Raises MissingPackageError, OutputError."""
    require("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    axes.plot(epochs, [row["loss"] for row in rows], color="C0", label="loss in training")
    if "validation_loss" in rows[0]:
        axes.plot(epochs, [row["validation_loss"] for row in rows], color="C0", ls="--", label="validation")
        accuracy = axes.twinx()
        accuracy.plot(epochs, [100 * row["top1"] for row in rows], color="C1", label="top-1")
        accuracy.set_ylabel("top-1 on the validation images, %", color="C1")
    axes.set(xlabel="epoch", title=title)
    axes.set_ylabel("cross entropy", color="C0")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    figure_files.write(figure, path)
