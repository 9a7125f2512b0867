"""`edgecnn distill`."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli import common, request_options, training_options
from edgecnn.cli.commands.train import train_and_print
from edgecnn.compress.distill.distill_request import DistillRequest


@click.command("distill")
@click.argument("student", metavar="STUDENT | FILE.py:FUNCTION | FILE.safetensors")
@request_options.options(DistillRequest)
@common.common
def command(student: str, as_json: bool, **values: Any) -> int:
    """Train network STUDENT with the help of a teacher.

    \b
    edgecnn distill mobilenet --alpha 0.25 --resolution 32 --teacher resnet18.safetensors --data digits
    edgecnn distill mobilenet_v2 --teacher efficientnet_lite0 --unlabeled PHOTOGRAPHS
    """
    with training_options.failing_together():
        request = request_options.request(DistillRequest, values, network=student)
        from edgecnn.compress.distill.distill_network import distill
        from edgecnn.compress.distill.teacher import MEAN_AND_STD

        teaching = request.teaching
        foreign = teaching.teacher.endswith(".onnx") and teaching.preprocessing is None
        if foreign and training_options.is_main_process():
            common.note_preparation(teaching.teacher, MEAN_AND_STD)
        train_and_print(distill, request, as_json)
    return 0
