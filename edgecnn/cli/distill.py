"""`edgecnn distill`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from edgecnn.cli import common, training
from edgecnn.cli.train import train_and_print


@click.command("distill")
@click.argument("student", metavar="STUDENT | FILE.safetensors")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write  [STUDENT.safetensors].")
@click.option(
    "--teacher", required=True, help="Teacher: FILE.safetensors, FILE.onnx, or the name of a network."
)
@click.option(
    "--teacher-weights", default="imagenet", show_default=True, help="Weights of a network by its name."
)
@click.option("--teacher-mean", help="Mean of the channels of a foreign ONNX teacher: 0.485,0.456,0.406.")
@click.option("--teacher-std", help="Standard deviation likewise: 0.229,0.224,0.225.")
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
@training.options(data_required=False)
@common.common
def command(student: str, output: Path | None, as_json: bool, **values: Any) -> int:
    """Train network STUDENT with the help of a teacher.

    \b
    edgecnn distill mobilenet --alpha 0.25 --resolution 32 --teacher resnet18.safetensors --data digits
    edgecnn distill mobilenet_v2 --teacher efficientnet_lite0 --unlabeled PHOTOGRAPHS
    """
    from edgecnn.compress.distill.pipeline import Distill
    from edgecnn.compress.distill.teacher import MEAN_AND_STD
    from edgecnn.compress.train.pipeline import TrainRequest

    with training.failing_together():
        goal = Distill(**{item.name: values.pop(item.name) for item in dataclasses.fields(Distill)})
        foreign = goal.teacher.endswith(".onnx") and not (goal.teacher_mean or goal.teacher_std)
        if foreign and training.is_main_process():
            common.note_preparation(goal.teacher, MEAN_AND_STD)
        fields = training.request(student, values)
        fields["output"] = output or Path(f"{fields['network'].stem}.safetensors")
        train_and_print(TrainRequest(**fields, goal=goal), as_json)
    return 0
