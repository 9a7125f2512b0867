"""`edgecnn export`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, request_options
from edgecnn.cli.terminal import note, say
from edgecnn.export.export_request import ExportRequest
from edgecnn.image_size import Size

if TYPE_CHECKING:
    from edgecnn.export import Exported


@click.command("export")
@click.argument("name", metavar="NAME | FILE.py:FUNCTION | FILE.safetensors")
@request_options.options(ExportRequest, without=("max_drop",))
@common.common
def command(name: str, as_json: bool, **values: Any) -> int:
    """Write network NAME, or a checkpoint, as an ONNX file checked against PyTorch on real images.

    \b
    edgecnn export mobilenet --alpha 0.5 --int8
    edgecnn export efficientnet_lite0 --weights imagenet --int8 --target cpu -o e.onnx
    edgecnn export trained.safetensors --int8
    edgecnn export nets.py:TwoHeads --size 192x256 --arg width=32
    """
    from edgecnn.export import export

    request = request_options.request(ExportRequest, values, network=name)
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
                f"{manifest.architecture}{width}, {Size.of(manifest.resolution or 0)} pixels",
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
    for remark in exported.notes:
        note(remark)
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
