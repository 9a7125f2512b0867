"""`edgecnn quantize`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecnn.cli import common, request_options
from edgecnn.cli.terminal import note, say
from edgecnn.progress import Progress
from edgecnn.quantize.quantize_request import QuantizeRequest, RequantizeRequest

if TYPE_CHECKING:
    from edgecnn.quantize.write_file import QuantizedFile


@click.command("quantize")
@click.argument("source", required=False, type=click.Path(path_type=Path))
@request_options.options(QuantizeRequest)
@click.option(
    "--from",
    "known",
    type=click.Path(path_type=Path),
    help="Int8 file of edgecnn to write for --target, without images.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Plot of each layer's sensitivity: FILE.png, .svg, .pdf."
)
@click.option(
    "--gate",
    type=click.Choice(["latency"]),
    help="Gate: latency (measure the result beside SOURCE here); exit 3 if it is not faster.",
)
@common.common
@click.pass_context
def command(
    context: click.Context,
    source: Path | None,
    known: Path | None,
    plot: Path | None,
    gate: str | None,
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
    from edgecnn import figure
    from edgecnn.artifact import check_onnx_output
    from edgecnn.data.sample_files import holds_samples
    from edgecnn.quantize import sensitivity_plot
    from edgecnn.quantize.quantize_request import QuantizeRequest, RequantizeRequest

    if plot is not None:
        figure.check(plot)
        values["sensitivity"] = True
    request: QuantizeRequest | RequantizeRequest
    said_before = ""
    if known is not None:
        _refuse(context)
        request = RequantizeRequest(known, values["output"], values["target"])
    else:
        request = asked = request_options.request(QuantizeRequest, values, model=source)
        check_onnx_output(asked.output)
        if asked.preparation.said_by is None and not holds_samples(asked.calib):
            said_before = common.note_preparation(asked.source)
    with common.progress(None) as show:
        written = _write(request, show)
        speed, unmeasured = _speed(request, written, show, gate)
    if plot is not None:
        title = f"{request.output.name}: what each layer's int8 costs"
        sensitivity_plot.draw(written.sensitivity or [], title, plot)
    if as_json:
        passed = {"gate": gate, **speed, "met": _is_faster(speed)} if speed and gate else None
        common.print_json({**written.to_json(), "speed": speed, "gate": passed}, plot=plot)
    else:
        _print(written, request, speed, said_before, gate)
        if unmeasured:
            note(unmeasured)
        if plot is not None:
            say(f"plot       {plot}")
    failed = written.met is False or (gate is not None and not _is_faster(speed))
    return common.EXIT_BUDGET if failed else 0


def _refuse(context: click.Context) -> None:
    """Raise click.UsageError for what --from does not heed: it takes the ranges of its int8 file."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("known", "output", "target", "as_json"):
            raise click.UsageError(f"{parameter.opts[-1]} belongs to SOURCE, --from heeds only --target")


def _write(request: QuantizeRequest | RequantizeRequest, show: Progress) -> QuantizedFile:
    if isinstance(request, QuantizeRequest):
        from edgecnn.verbs.quantize import quantize_model

        return quantize_model(request, show)
    from edgecnn.verbs.quantize import requantize_model

    return requantize_model(request, show)


def _speed(
    request: QuantizeRequest | RequantizeRequest, written: QuantizedFile, show: Progress, gate: str | None
) -> tuple[dict[str, Any] | None, str]:
    """Return how fast int8 is beside the float file on this machine, or else why that is not known.

    It is measured for a gate, and where the file is made for what this machine is. Both are empty where not.
    """
    from edgecnn.errors import EdgecnnError
    from edgecnn.runtime.processor import has_vnni

    made_for = written.manifest.target
    int8 = written.manifest.precision == "int8" and written.parity is not None
    if gate is None and not (int8 and made_for == "cpu" and has_vnni()):
        return None, ""
    show("measure")
    try:
        return _measured(request), ""
    except EdgecnnError as error:
        if gate is not None:
            raise
        return None, f"not measured beside the float file: {error}"


def _measured(request: QuantizeRequest | RequantizeRequest) -> dict[str, Any]:
    from edgecnn.data.sample_files import holds_samples
    from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
    from edgecnn.measure.latency.quick_ratio import quick_ratio
    from edgecnn.quantize.quantize_request import QuantizeRequest
    from edgecnn.runtime import load

    choice = PHOTOGRAPHS
    if isinstance(request, QuantizeRequest):
        samples = request.calib if holds_samples(request.calib) else None
        choice = InputChoice(None, request.inputs.constants, samples)
    with load(request.source, threads=1) as plain, load(request.output, threads=1) as reduced:
        if reduced.is_prepared:
            plain.prepare_by(reduced.preprocessing)
        return {**quick_ratio(plain, reduced, choice).to_json(), "device": plain.device, "threads": 1}


def _is_faster(speed: dict[str, Any] | None) -> bool:
    return speed is not None and speed["ratio"] > 1


def _print(
    written: QuantizedFile,
    request: QuantizeRequest | RequantizeRequest,
    speed: dict[str, Any] | None,
    said_before: str,
    gate: str | None,
) -> None:
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
                f"{speed['int8_ms']:.3g} ms, float {speed['float_ms']:.3g} ms with one thread of this"
                f" {speed['device']}: {speed['ratio']:.2f} times as fast",
            )
        )
    if written.outcome:
        common.print_attempts([item.to_json() for item in written.outcome.attempts], _metric(request))
    common.print_facts(facts)
    if written.sensitivity:
        _print_sensitivity(written.sensitivity)
    if written.outcome and written.outcome.met is False:
        say(
            f"the budget ({_asked(request)}) was NOT met; written is the best without layers in float",
            fg="red",
        )
    if speed and speed["verdict"] == "slower":
        say(
            "int8 is SLOWER than float here, as measured: keep the float file for this machine, or look for a"
            " faster engine of it with edgecnn compile --backend auto",
            fg="red",
        )
    if gate and not _is_faster(speed):
        say("the gate was NOT passed: int8 is not faster than float here", fg="red")
    common.print_floor(quantization)
    for remark in written.notes:
        if remark != said_before:
            note(remark)
    if written.ruined is None or written.ruined.accepted:
        common.print_next("profile", written.path)


def _metric(request: Any) -> str | None:
    """Return the name of the user's metric, if there is one."""
    metric = getattr(request, "metric", None)
    return metric if metric is None or isinstance(metric, str) else str(metric.__name__)


def _asked(request: Any) -> str:
    units = {
        "min_sqnr_db": "at least {:g} dB",
        "min_agreement": "agreement of {:.1%}",
        "max_drop": f"at most {{:g}} {'of ' + metric if (metric := _metric(request)) else 'points'} lost",
    }
    return ", ".join(units[key].format(value) for key, value in request.budget.to_json().items())


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
