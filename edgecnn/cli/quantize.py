"""`edgecnn quantize`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common
from edgecnn.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgecnn.quantize.file import Trainer
    from edgecnn.quantize.written import Written


@click.command("quantize")
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--target", default="portable", show_default=True, help="Form of int8: a name of `edgecnn targets`."
)
@click.option(
    "--from",
    "known",
    type=click.Path(path_type=Path),
    help="Int8 file of edgecnn to write for --target, without images.",
)
@click.option("--fp16", is_flag=True, help="Compute in float16 instead of int8.")
@common.budget
@click.option("--max-drop", type=float, help="Points of top-1 that may be lost on --data.")
@click.option(
    "--data", help="Labelled images for --max-drop: a folder of class folders, or a data set by name."
)
@click.option("--train", "training_data", help="Labelled images to train int8 on, if no repair is enough.")
@click.option("--train-epochs", default=10, show_default=True, help="Passes over them.")
@common.calibration(images=128)
@click.option("--check-images", type=int, default=64, show_default=True, help="Most images that check.")
@click.option("--mean", help="Mean of the image channels, in units of full scale: 0.485,0.456,0.406.")
@click.option("--std", help="Standard deviation likewise: 0.229,0.224,0.225.")
@click.option(
    "--yes", is_flag=True, help="Assume ImageNet's mean and deviation, though the file seems to want others."
)
@click.option("--size", type=int, help="Side of the input in pixels, for a file that leaves it open.")
@click.option("--sensitivity", is_flag=True, help="Measure what each layer costs.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Plot of each layer's sensitivity: FILE.png, .svg, .pdf."
)
@click.option(
    "--gate",
    type=click.Choice(["latency"]),
    help="Gate: latency (measure the result beside SOURCE here); exit 3 if it is not faster.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the choice of images.")
@common.common
def command(
    source: Path | None,
    output: Path,
    target: str,
    known: Path | None,
    fp16: bool,
    effort: str | None,
    min_sqnr: float | None,
    min_agreement: float | None,
    max_drop: float | None,
    mean: str | None,
    std: str | None,
    sensitivity: bool,
    plot: Path | None,
    gate: str | None,
    training_data: str | None,
    train_epochs: int,
    as_json: bool,
    **values: Any,
) -> int:
    """Quantize SOURCE, a float ONNX file of any origin, and check it on real images.

    \b
    edgecnn quantize m.onnx -o int8.onnx --target cpu --calib photos/
    edgecnn quantize m.onnx -o int8.onnx --effort best --min-sqnr 24 --min-agreement 96
    edgecnn quantize --from int8.onnx --target jetson-orin-nano -o board.onnx
    """
    if (source is None) == (known is None):
        raise click.UsageError("give either SOURCE or --from")
    from edgecnn.budget import Budget
    from edgecnn.lazy import require

    for module in ("onnx", "onnxsim", "onnxruntime"):
        require(module, "quantizing a network")
    from edgecnn import figure
    from edgecnn.artifact import check_onnx_output
    from edgecnn.errors import InvalidValueError
    from edgecnn.quantize import plot as plotting
    from edgecnn.quantize.file import quantize_file
    from edgecnn.quantize.requantize import requantize_file
    from edgecnn.quantize.request import QuantizeRequest
    from edgecnn.runtime.images import Preprocessing

    check_onnx_output(output)
    if plot is not None:
        figure.check(plot)
    budget = Budget(min_sqnr, None if min_agreement is None else min_agreement / 100, max_drop)
    if known is not None or fp16:
        asked = budget.asks or effort or sensitivity or plot
        if asked:
            raise click.UsageError("budgets, --effort, --sensitivity and --plot belong to int8 from SOURCE")
        if training_data:
            raise click.UsageError("--train belongs to int8 from SOURCE")
    if known is not None and (fp16 or values["calib"]):
        raise click.UsageError(
            "--fp16 and --calib belong to SOURCE; --from takes the ranges of its int8 file"
        )
    if values["force"] and (known is not None or fp16):
        raise click.UsageError("--force belongs to int8 from SOURCE")
    if known is not None and gate:
        raise click.UsageError("--gate compares with SOURCE; there is none")
    try:
        preprocessing = Preprocessing.said(mean, std)
    except InvalidValueError as error:
        raise click.UsageError(f"--mean and --std: {error}; {error.hint}") from error
    if source is not None and preprocessing is None:
        common.note_preparation(source)
    with common.progress(None) as show:
        if known is not None:
            written = requantize_file(known, output, target, show)
        elif source is not None:
            written = quantize_file(
                QuantizeRequest(
                    source,
                    output,
                    target=target,
                    precision="float16" if fp16 else "int8",
                    effort=effort or "default",
                    budget=budget,
                    preprocessing=preprocessing,
                    sensitivity=sensitivity or plot is not None,
                    **values,
                ),
                show,
                *_training(source, training_data, train_epochs, values["seed"], show),
            )
        speed = _faster(source, output, show) if gate and source is not None else None
    if plot is not None:
        plotting.draw(written.sensitivity or [], f"{output.name}: what each layer's int8 costs", plot)
    if as_json:
        common.print_json({**written.to_json(), "gate": speed}, plot=plot)
    else:
        _print(written, budget, speed)
        if plot is not None:
            say(f"plot       {plot}")
    failed = written.met is False or (speed is not None and not speed["met"])
    return common.EXIT_BUDGET if failed else 0


def _training(
    source: Path, data: str | None, epochs: int, seed: int, show: Callable[[str], None]
) -> tuple[Trainer | None, dict[str, Any] | None]:
    """Return what trains an int8 form with images that do not test the network, and a record of these."""
    if data is None:
        return None, None
    from edgecnn.artifact import read_manifest
    from edgecnn.compress.qat.pipeline import trainer
    from edgecnn.compress.train.options import TrainOptions
    from edgecnn.data import trained_on

    options = TrainOptions(epochs=epochs, warmup=min(1.0, epochs / 10), validation=0.0, seed=seed)
    known = read_manifest(source)
    dataset = trained_on.open_for([known], data, seed=seed, validation=0.0)
    made = trainer(dataset, options, lambda report: show(f"training: step {report.done} of {report.total}"))
    return made, trained_on.describe(dataset, known.lineage if known else ())


def _faster(source: Path, output: Path, show: Any) -> dict[str, Any]:
    """Return how fast the result is beside its source, measured in turn on this machine."""
    from edgecnn.measure.latency import profile
    from edgecnn.runtime import load

    with load(source) as plain, load(output) as reduced:
        before, after = profile([plain, reduced], seconds=2.0, progress=show)
    times = [item.to_json()["latency_ms"]["p50"] for item in (before, after)]
    return {
        "gate": "latency",
        "float_ms": times[0],
        "int8_ms": times[1],
        "ratio": times[0] / times[1],
        "device": plain.device,
        "met": times[1] < times[0],
    }


def _print(written: Written, budget: Any, speed: dict[str, Any] | None) -> None:
    from edgecnn.quantize import assumed

    manifest, parity = written.manifest, written.parity
    quantization = manifest.quantization or {}
    facts = [("wrote", f"{written.path}  ({common.size(written.bytes)}, sha256 {written.sha256[:12]})")]
    if quantization:
        share = f"{quantization['int8_mac_share']:.1%} of the MACs in int8 for {manifest.target}"
        facts.append(("precision", share))
        rules = Counter(quantization["float_nodes"].values())
        facts += [("float", f"{count} x {rule}") for rule, count in rules.most_common()]
    else:
        facts.append(("precision", manifest.precision))
    if parity:
        facts += common.parity_facts(parity.to_json(), "the float file", "images that did not calibrate")
    if speed:
        facts.append(
            (
                "latency",
                f"{speed['int8_ms']:.2f} ms, float {speed['float_ms']:.2f} ms on {speed['device']}:"
                f" {speed['ratio']:.2f} times as fast",
            )
        )
    if written.outcome:
        common.print_attempts([item.to_json() for item in written.outcome.attempts])
    common.print_facts(facts)
    if written.sensitivity:
        _print_sensitivity(written.sensitivity)
    if written.outcome and written.outcome.met is False:
        say(
            f"the budget ({_asked(budget)}) was NOT met; written is the best without layers in float",
            fg="red",
        )
    if speed and not speed["met"]:
        say("the gate was NOT passed: int8 is not faster than float here", fg="red")
    common.print_floor(quantization)
    for note in written.notes:
        if note != assumed.note():  # said before the work
            say(f"note: {note}", fg="yellow")
    # An engine has one output yet.
    if (written.ruined is None or written.ruined.accepted) and len(manifest.outputs) == 1:
        common.print_next("profile", written.path)


def _asked(budget: Any) -> str:
    units = {
        "min_sqnr_db": "at least {:g} dB",
        "min_agreement": "agreement of {:.1%}",
        "max_drop": "at most {:g} points lost",
    }
    return ", ".join(units[key].format(value) for key, value in budget.to_json().items())


#: Layers that are printed; the JSON has all of them.
_SHOWN = 10


def _print_sensitivity(layers: list[Any]) -> None:
    worst = sorted(layers, key=lambda layer: layer.alone_db)[:_SHOWN]
    common.print_table(
        ["most sensitive layers", "operator", "MACs", "alone", "all up to it"],
        [
            [
                layer.node,
                layer.operator,
                common.amount(layer.macs),
                common.decibels(layer.alone_db),
                common.decibels(layer.cumulative_db),
            ]
            for layer in worst
        ],
        text=(0, 1),
    )
