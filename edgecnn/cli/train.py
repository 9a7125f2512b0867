"""`edgecnn train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, training

if TYPE_CHECKING:
    from edgecnn.compress.train.pipeline import Trained


@click.command("train")
@click.argument("name", metavar="NAME | FILE.safetensors")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write  [NAME.safetensors].")
@common.network(weights="auto", classes=False)
@training.options()
@common.common
def command(name: str, output: Path | None, as_json: bool, **values: Any) -> int:
    """Train network NAME, or go on from a checkpoint, on labelled images.

    Where weights are known for the network they are fine-tuned: a new classifier first, then everything.

    \b
    edgecnn train efficientnet_lite0 --data FOLDER_OF_CLASS_FOLDERS --epochs 10
    edgecnn train mobilenet --alpha 0.25 --resolution 32 --data digits --augmentation digits
    torchrun --nproc-per-node 2 --no-python edgecnn train resnet18 --data cifar10
    """
    from edgecnn.compress.train.pipeline import TrainRequest, train

    with training.failing_together():
        fields = training.request(name, values)
        fields["output"] = output or Path(f"{fields['network'].stem}.safetensors")
        request = TrainRequest(**fields)
        with training.progress() as show:
            trained = train(request, show)
    if training.is_main_process():
        if as_json:
            common.print_json(trained.to_json())
        else:
            print_trained(trained)
    return 0


def print_trained(trained: Trained) -> None:
    """Print what came of a run."""
    manifest = trained.manifest
    step = manifest.lineage[-1]
    metrics = step.metrics
    if trained.done_before:
        click.secho("this very run was done before; nothing was trained", fg="yellow")
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
        click.secho(f"note: {note}", fg="yellow")
    click.echo(f"next: edgecnn export {trained.path} --int8")
