"""`edgecnn train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, training
from edgecnn.cli.terminal import say

if TYPE_CHECKING:
    from edgecnn.compress.qat.pipeline import QatRequest
    from edgecnn.compress.train.pipeline import Trained, TrainRequest


@click.command("train")
@click.argument("name", metavar="NAME | FILE.safetensors")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write  [NAME.safetensors].")
@click.option("--qat", is_flag=True, help="Train an int8 form of a trained network; writes an ONNX file.")
@click.option("--target", help="Form of --qat: a name of `edgecnn targets`  [portable].")
@click.option(
    "--force",
    is_flag=True,
    help="Exit with 0, not 3, for --qat that keeps almost nothing; it is written in either case.",
)
@common.network(weights="auto", classes=False)
@training.options()
@common.common
def command(
    name: str,
    output: Path | None,
    qat: bool,
    target: str | None,
    force: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Train network NAME, or go on from a checkpoint, on labelled images.

    Where weights are known for the network they are fine-tuned: a new classifier first, then everything.

    \b
    edgecnn train efficientnet_lite0 --data FOLDER_OF_CLASS_FOLDERS --epochs 10
    edgecnn train mobilenet --alpha 0.25 --resolution 32 --data digits --augmentation digits
    edgecnn train trained.safetensors --qat --target cpu --data digits --epochs 10
    torchrun --nproc-per-node 2 --no-python edgecnn train resnet18 --data cifar10
    """
    if target and not qat:
        raise click.UsageError("--target belongs to --qat")
    if force and not qat:
        raise click.UsageError("--force belongs to --qat")
    if qat:
        return _quantized(name, output, target or "portable", force, as_json, values)
    from edgecnn.compress.train.pipeline import TrainRequest

    with training.failing_together():
        fields = training.request(name, values)
        fields["output"] = output or Path(f"{fields['network'].stem}.safetensors")
        train_and_print(TrainRequest(**fields), as_json)
    return 0


def train_and_print(request: TrainRequest, as_json: bool) -> None:
    """Train, and print what came of it in the process that speaks."""
    from edgecnn.compress.train.pipeline import train

    with training.resumable(request.output), training.progress() as show:
        trained = train(request, show)
    if not training.is_main_process():
        return
    if as_json:
        common.print_json(trained.to_json(), **_beside(request, trained))
    else:
        _print(trained, request.data)


def _beside(request: TrainRequest | QatRequest, trained: Trained) -> dict[str, Path | None]:
    """Return what was written beside the network, if it was trained now."""
    return {} if trained.done_before else {"log": request.log, "plot": request.plot}


def _quantized(
    name: str, output: Path | None, target: str, force: bool, as_json: bool, values: dict[str, Any]
) -> int:
    with training.failing_together():
        training.alone("train --qat")
    from edgecnn.compress.qat.pipeline import QatRequest, train_quantized

    fields = training.request(name, values)
    output = output or Path(f"{fields['network'].stem}-int8.onnx")
    request = QatRequest(**fields, output=output, target=target, force=force)
    with training.resumable(output), training.progress() as show, common.progress(None) as tell:
        done = train_quantized(request, show, tell)
    code = common.EXIT_BUDGET if done.met is False else 0
    if as_json:
        common.print_json(done.to_json(), **_beside(request, done))
        return code
    found = done.manifest.lineage[-1].metrics
    parity = found["parity"]
    if done.done_before:
        say("this very run was done before; nothing was trained", fg="yellow")
    common.print_facts(
        [
            ("wrote", f"{done.path}  ({common.size(done.path.stat().st_size)}, sha256 {done.sha256[:12]})"),
            (
                "top-1",
                f"{found['top1']:.2%} of {found['n']} test images; float {found['float_top1']:.2%},"
                f" int8 without training {found['untrained_top1']:.2%}",
            ),
            *common.parity_facts(parity, "the float network", "test images"),
            ("simulation", f"answers as the network in training on {found['simulation_agreement']:.2%}"),
        ]
    )
    common.print_floor(done.manifest.quantization)
    for note in done.notes:
        say(f"note: {note}", fg="yellow")
    if code == 0:
        common.print_next("profile", done.path)
    return code


def _print(trained: Trained, data: str | None) -> None:
    """Print what came of a run on `data`."""
    manifest = trained.manifest
    step = manifest.lineage[-1]
    metrics = step.metrics
    if trained.done_before:
        say("this very run was done before; nothing was trained", fg="yellow")
    width = "" if manifest.alpha == 1 else f" x {manifest.alpha:g}"
    size = trained.path.stat().st_size
    common.print_facts(
        [
            ("wrote", f"{trained.path}  ({common.size(size)}, sha256 {trained.sha256[:12]})"),
            (
                "network",
                f"{manifest.architecture}{width}, {manifest.resolution} x {manifest.resolution} pixels,"
                f" {common.amount(manifest.params)} parameters, {common.amount(manifest.macs)} MACs",
            ),
            ("trained", f"{' then '.join(step.parameters['stages'])}, {step.parameters['epochs']} epochs"),
            ("top-1", f"{metrics['top1']:.2%} of {metrics['n']} test images of {metrics['data']}"),
        ]
    )
    for note in trained.notes:
        say(f"note: {note}", fg="yellow")
    training.print_next(trained.path, data)
