"""`edgecnn distill`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from edgecnn.cli import common, training_options
from edgecnn.cli.commands.train import train_and_print


@click.command("distill")
@click.argument("student", metavar="STUDENT | FILE.safetensors")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write  [STUDENT.safetensors].")
@click.option(
    "--teacher", required=True, help="Teacher: FILE.safetensors, FILE.onnx, or the name of a network."
)
@click.option(
    "--teacher-weights", default="imagenet", show_default=True, help="Weights of a network by its name."
)
@click.option(
    "--temperature", default=4.0, show_default=True, help="Temperature that softens the teacher's answers."
)
@click.option("--weight", default=0.9, show_default=True, help="Share of the teacher's answers in the loss.")
@click.option(
    "--features", default="none", show_default=True, help="Features learned too: hint, attention, none."
)
@click.option("--feature-weight", default=30.0, show_default=True, help="Weight of the features in the loss.")
@click.option("--unlabeled", type=click.Path(path_type=Path), help="Folder of more images, without labels.")
@common.network(weights="auto", classes=False)
@training_options.options(data_required=False)
@common.common
def command(student: str, output: Path | None, as_json: bool, **values: Any) -> int:
    """Train network STUDENT with the help of a teacher.

    \b
    edgecnn distill mobilenet --alpha 0.25 --resolution 32 --teacher resnet18.safetensors --data digits
    edgecnn distill mobilenet_v2 --teacher efficientnet_lite0 --unlabeled PHOTOGRAPHS
    """
    from edgecnn.compress.distill.distill_network import Distill
    from edgecnn.compress.train.train_network import TrainRequest

    with training_options.failing_together():
        own = {item.name: values.pop(item.name) for item in dataclasses.fields(Distill)}
        fields = training_options.request(student, values)
        fields["output"] = output or Path(f"{fields['network'].stem}.safetensors")
        train_and_print(TrainRequest(**fields, goal=Distill(**own)), as_json)
    return 0
