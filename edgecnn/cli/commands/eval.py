"""`edgecnn eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, request_options
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.store_results import keep, store_option
from edgecnn.cli.terminal import note, say
from edgecnn.errors import InvalidValueError
from edgecnn.measure.measure_options import EvalRequest

if TYPE_CHECKING:
    from edgecnn.data.frame_cache import FrameCache
    from edgecnn.measure.accuracy.evaluate import Accuracy
    from edgecnn.measure.accuracy.measured_outputs import Figure, MeasuredOutputs
    from edgecnn.measure.accuracy.preprocessing_parity import PreprocessingParity
    from edgecnn.tasks.metric import Details
    from edgecnn.verbs.evaluate import Evaluated

#: Worst classes, changed images and skipped images that are named.
_NAMED = 3


def _outputs(plot: Path | None, reference: Path | None, **_: Any) -> list[Path]:
    from edgecnn.measure.accuracy.contact_sheet import sheet_path

    return [] if plot is None else [plot, *([sheet_path(plot)] if reference else [])]


@click.command("eval", cls=BoardCommand, outputs=_outputs)
@click.argument("model", type=BoardPath(sent=True, path_type=Path))
@request_options.options(EvalRequest, help={"threads": "CPU threads; 0: all cores."})
@click.option(
    "--plot",
    type=BoardPath(fetched=True, path_type=Path),
    help="Plot of confusions, calibration and classes, of a detector of precision and recall; with"
    " --reference, also the changed images to NAME_changed.",
)
@click.option("--per-class", is_flag=True, help="Print the figures of every class.")
@store_option
@common.common
def command(
    model: Path, plot: Path | None, per_class: bool, no_store: bool, as_json: bool, **values: Any
) -> None:
    """Measure the accuracy of MODEL on labelled images, and where it differs from a reference."""
    from edgecnn import figure
    from edgecnn.verbs.evaluate import evaluate_model

    request = request_options.request(EvalRequest, values, model=model)
    plots = _outputs(plot, request.reference)
    for path in plots:
        figure.check(path)
    with common.progress(None) as show:
        done = evaluate_model(request, show)
    if not no_store and done.is_plain:
        keep("eval", done.engine, done.to_json())
    _draw(done, plots)
    if as_json:
        common.print_json(done.to_json(), **dict(zip(("plot", "contact_sheet"), plots, strict=False)))
    else:
        _print(done, plots, per_class)


def _draw(done: Evaluated, plots: list[Path]) -> None:
    """Draw the plots that are asked for: of answers, and of images whose answer changed."""
    from edgecnn.data.folder import LabelledImages
    from edgecnn.measure.accuracy import accuracy_plot, contact_sheet, details_plot, worst_sheet
    from edgecnn.measure.accuracy.evaluate import Accuracy

    if not plots:
        return
    if not isinstance(done.accuracy, Accuracy):
        details_plot.draw(done.accuracy, plots[0])
        if len(plots) == 2 and isinstance(done.dataset, LabelledImages):
            found = done.accuracy
            title = f"{found.path.name}: the images of which it keeps least of {done.request.reference}"
            worst_sheet.draw(found.worst, done.engine, done.dataset.images, title, plots[1])
        return
    if not isinstance(done.dataset, LabelledImages):
        raise InvalidValueError("--plot draws what is said of images", hint="leave it out")
    accuracy_plot.draw(done.accuracy, plots[0])
    if len(plots) == 2:
        contact_sheet.draw(done.accuracy, done.dataset.images, done.engine.preprocessing, plots[1])


def _print(done: Evaluated, plots: list[Path], per_class: bool) -> None:
    from edgecnn.measure.accuracy.evaluate import Accuracy

    accuracy, manifest = done.accuracy, done.engine.manifest
    if not isinstance(accuracy, Accuracy):
        _print_outputs(accuracy, plots, per_class)
        if manifest and manifest.weights == "random":
            say("this model's weights are random: what it finds is chance", fg="yellow", err=True)
        return
    common.print_facts(
        [
            *_facts(accuracy),
            *_averaged_facts(done),
            *_cache_facts(done.cache),
            *_parity_facts(done.parities),
            *(("wrote", str(path)) for path in plots),
        ]
    )
    if per_class:
        _print_classes(accuracy)
    for remark in accuracy.notes:
        note(remark, err=True)
    for skipped in accuracy.skipped[:_NAMED]:
        say(str(skipped), fg="yellow", err=True)
    if manifest and manifest.weights == "random":
        say("this model's weights are random: its accuracy is chance", fg="yellow", err=True)


def _print_outputs(measured: MeasuredOutputs, plots: list[Path], per_class: bool) -> None:
    """Print what was measured of a network without class scores."""
    facts = _metric_facts(measured.metric)
    if measured.details is not None:
        facts += _details_facts(measured.details)
    if measured.parity is not None:
        facts += common.parity_facts(measured.parity.to_json(), str(measured.reference))
    facts.append(("data", f"{measured.n} of {measured.data}, {len(measured.skipped)} could not be read"))
    facts.append(("time", f"{measured.seconds:.1f} s, {measured.n / measured.seconds:.0f} a second"))
    common.print_facts([*facts, *(("wrote", str(path)) for path in plots)])
    if per_class and measured.details is not None:
        _print_details(measured.details)
    for remark in measured.notes:
        note(remark, err=True)
    for skipped in measured.skipped[:_NAMED]:
        say(str(skipped), fg="yellow", err=True)


def _details_facts(details: Details) -> list[tuple[str, str]]:
    """Return the figures beside the first, which has a line of its own, and the lowest classes."""
    known = [(name, value) for name, value in [*details.figures.items()][1:] if value is not None]
    worst = sorted(details.classes, key=lambda row: row[details.key])[:_NAMED]
    facts = [(name, f"{value:.2f}") for name, value in known]
    named = [f"{row['name']} {row[details.key]:.1f}" for row in worst]
    return [*facts, *([("lowest", ", ".join(named))] if named else [])]


def _print_details(details: Details) -> None:
    rows = sorted(details.classes, key=lambda row: row[details.key])
    figures = [key for key in (rows[0] if rows else {}) if key not in ("class", "name", "n")]
    common.print_table(
        ["class", "n", *figures],
        [[row["name"], str(row["n"]), *(f"{row[key]:.1f}" for key in figures)] for row in rows],
    )


def _metric_facts(figure: Figure | None) -> list[tuple[str, str]]:
    if figure is None:
        return []
    if figure.unit:  # the task's own
        reference = "" if figure.reference is None else f"  (the reference {figure.reference:.2f})"
        return [(figure.name, f"{figure.value:.2f}{reference}")]
    beside = "" if figure.reference is None else f"  (the reference {figure.reference:.6g})"
    return [("metric", f"{figure.value:.6g}{beside}  {figure.name}")]


def _facts(accuracy: Accuracy) -> list[tuple[str, str]]:
    (low, high), (low5, high5) = accuracy.top1_interval, accuracy.top5_interval
    counts, right = accuracy.confusion.sum(axis=1), accuracy.confusion.diagonal()
    worst = [
        f"{accuracy.names[index]} {right[index] / counts[index]:.1%} of {counts[index]}"
        for index in accuracy.worst_classes[:_NAMED]
    ]
    left_out = f", {len(accuracy.skipped)} could not be read" if accuracy.skipped else ""
    if accuracy.training.left_out:
        left_out += f", {accuracy.training.left_out} left out that trained this network"
    facts = [
        ("top-1", f"{accuracy.top1:.2%}  (95 % interval {low:.2%} to {high:.2%})"),
        ("top-5", f"{accuracy.top5:.2%}  (95 % interval {low5:.2%} to {high5:.2%})"),
        ("lowest", ", ".join(worst)),
        ("calibration", f"off by {accuracy.ece:.1%} (ECE, 15 bins), log-likelihood {-accuracy.nll:.3f} nats"),
    ]
    facts += _metric_facts(accuracy.metric)
    if accuracy.agreement is not None:
        found = accuracy.agreement
        low, high = found.interval
        decibels = common.decibels(found.parity.to_json()["sqnr_db"])
        facts += [
            ("reference", f"top-1 {found.reference_top1:.2%} ({found.reference})"),
            (
                "agreement",
                f"{found.parity.top1_agreement:.2%}  (95 % interval {low:.2%} to {high:.2%}), {decibels}",
            ),
            (
                "changed",
                f"{len(found.changed)} images: {found.only_reference_right} only the reference has right,"
                f" {found.only_model_right} only this model (p = {found.p_value:.2g})",
            ),
        ]
        for item in found.changed[:_NAMED]:
            names = [accuracy.names[index] for index in (item.label, item.reference_answer, item.answer)]
            facts.append(
                (
                    "",
                    f"{item.image}: {names[0]}, was {names[1]} {item.reference_confidence:.0%},"
                    f" is {names[2]} {item.confidence:.0%}",
                )
            )
    rate, decoding = accuracy.n / accuracy.seconds, accuracy.conditions["decoding"]
    return [
        *facts,
        ("images", f"{accuracy.n} of {accuracy.data}{left_out}"),
        ("time", f"{accuracy.seconds:.1f} s, {rate:.0f} images/s, decoding {decoding}"),
    ]


def _averaged_facts(done: Evaluated) -> list[tuple[str, str]]:
    if done.is_plain:
        return []
    models = f" and {1 + len(done.request.ensemble)} models" if done.request.ensemble else ""
    return [("averaged", f"class probabilities of {done.views.count} views{models}; not stored")]


def _cache_facts(cache: FrameCache | None) -> list[tuple[str, str]]:
    if cache is None:
        return []
    return [("cache", f"{cache.found} images were in {cache.folder}, {cache.decoded} are new")]


def _parity_facts(parities: tuple[PreprocessingParity, ...]) -> list[tuple[str, str]]:
    return [
        (
            f"torch {item.kind}",
            f"input differs by at most {item.max_input_diff:.2g} ({item.max_pixel_diff} of 255), logits by"
            f" {item.max_logit_diff:.2g}; {len(item.changed)} of {item.images} images change class",
        )
        for item in parities
    ]


def _print_classes(accuracy: Accuracy) -> None:
    counts, right = accuracy.confusion.sum(axis=1), accuracy.confusion.diagonal()
    rows = []
    for index in accuracy.worst_classes:
        mistakes = accuracy.confusion[index].copy()
        mistakes[index] = 0
        often = int(mistakes.argmax())
        taken = f"{accuracy.names[often]} ({mistakes[often]})" if mistakes[often] else "-"
        share = right[index] / counts[index]
        rows.append([accuracy.names[index], str(counts[index]), str(right[index]), f"{share:.1%}", taken])
    common.print_table(["class", "images", "right", "accuracy", "most often taken for"], rows, text=(0, 4))
