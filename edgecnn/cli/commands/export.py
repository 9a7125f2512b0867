"""`edgecnn export`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common
from edgecnn.cli.terminal import say

if TYPE_CHECKING:
    from edgecnn.export import Exported


@click.command("export")
@click.argument("name", metavar="NAME | FILE.safetensors")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write  [NAME.onnx].")
@common.network()
@click.option("--int8", is_flag=True, help="Quantize, with ranges from real images.")
@click.option("--fp16", is_flag=True, help="Compute in float16.")
@click.option(
    "--target", default="portable", show_default=True, help="Form of int8: a name of `edgecnn targets`."
)
@click.option("--batch", type=int, help="Number of images per inference, fixed  [any].")
@click.option(
    "--input",
    "input_kind",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="Type of the input: uint8 for raw NHWC frames, normalised inside the graph.",
)
@click.option("--data", help="Data set it was trained with, instead of --calib: test images check.")
@common.calibration(images=64)
@common.budget
@click.option("--opset", type=int, default=18, show_default=True, help="ONNX operator set.")
@common.common
def command(
    name: str,
    output: Path | None,
    int8: bool,
    fp16: bool,
    input_kind: str,
    min_sqnr: float | None,
    min_agreement: float | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Write network NAME, or a checkpoint, as an ONNX file checked against PyTorch on real images.

    \b
    edgecnn export mobilenet --alpha 0.5 --int8
    edgecnn export efficientnet_lite0 --weights imagenet --int8 --target cpu -o e.onnx
    edgecnn export trained.safetensors --int8
    """
    if int8 and fp16:
        raise click.UsageError("--int8 and --fp16 exclude each other")
    from edgecnn.budget import Budget
    from edgecnn.export import ExportRequest, export

    budget = Budget(min_sqnr, None if min_agreement is None else min_agreement / 100)
    if values["force"] and not int8:
        raise click.UsageError("--force belongs to --int8")
    if budget.asks and not int8:
        raise click.UsageError("--min-sqnr and --min-agreement are budgets of --int8")
    spec = common.spec(name, values)
    request = ExportRequest(
        network=spec,
        output=output or Path(f"{spec.stem}.onnx"),
        seed=spec.seed,
        precision="int8" if int8 else "float16" if fp16 else "float32",
        input=input_kind,
        budget=budget,
        **values,
    )
    with common.progress(None) as show:
        exported = export(request, show)
    if as_json:
        common.print_json(exported.to_json())
    else:
        _print(exported)
    return common.EXIT_BUDGET if exported.met is False else 0


def _print(exported: Exported) -> None:
    manifest, parity = exported.manifest, exported.parity
    width = "" if manifest.alpha == 1 else f" x {manifest.alpha:g}"
    common.print_facts(
        [
            ("wrote", f"{exported.path}  ({common.size(exported.bytes)}, sha256 {exported.sha256[:12]})"),
            (
                "network",
                f"{manifest.architecture}{width}, {manifest.resolution} x {manifest.resolution} pixels",
            ),
            ("cost", f"{common.amount(manifest.params)} parameters, {common.amount(manifest.macs)} MACs"),
            ("precision", _precision(manifest.quantization, manifest.precision, manifest.target)),
            *common.parity_facts(
                parity.to_json(),
                f"PyTorch, largest difference {parity.max_abs_diff:.2g}",
                "images that did not calibrate",
            ),
        ]
    )
    attempts = (manifest.quantization or {}).get("attempts", [])
    if len(attempts) > 1:
        common.print_attempts(attempts)
    if exported.met is False:
        say("the budget was NOT met; written is the best without layers in float", fg="red")
    common.print_floor(manifest.quantization)
    for note in exported.notes:
        say(f"note: {note}", fg="yellow")
    if manifest.weights == "random":
        say(
            "RANDOM WEIGHTS: good for timing, useless for predictions (--weights gives it real ones)",
            fg="yellow",
        )
    if exported.ruined is None or exported.ruined.accepted:
        common.print_next("profile", exported.path)


def _precision(quantization: Any, precision: str, target: str | None) -> str:
    if not quantization:
        return precision
    rules = Counter(quantization["float_nodes"].values())
    rest = "; float: " + ", ".join(f"{n} x {rule}" for rule, n in rules.most_common()) if rules else ""
    return f"{precision} for {target}, {quantization['int8_mac_share']:.1%} of the MACs{rest}"
