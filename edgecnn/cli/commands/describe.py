"""`edgecnn describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgecnn.cli import common, request_options
from edgecnn.verbs.describe_request import DescribeRequest


@click.command("describe")
@click.argument("model", metavar="FILE", type=click.Path(path_type=Path))
@request_options.options(DescribeRequest)
@common.common
def command(model: Path, as_json: bool, **values: Any) -> None:
    """Write into FILE, an ONNX file of any origin, how its images are prepared, its labels, and its decoder.

    Its graph stays as it is. What was said once need not be said to quantize, eval, predict and compile.

    \b
    edgecnn describe yolo.onnx --prepare yolo --decoder yolov8 --labels coco.txt
    edgecnn describe foreign.onnx --prepare caffe --size 224 --labels imagenet -o described.onnx
    edgecnn describe text.onnx --fit stretch --color bgr --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5
    """
    from edgecnn.runtime.preprocessing import Preprocessing
    from edgecnn.verbs.describe import describe_model

    request = request_options.request(DescribeRequest, values, model=model)
    with common.progress(None) as show:
        show("describe")
        done = describe_model(request)
    if as_json:
        common.print_json(done.to_json())
        return
    facts = [("wrote", f"{done.path}  ({common.size(done.bytes)}, sha256 {done.sha256[:12]})")]
    if done.manifest.preprocessing is not None:
        facts.append(("prepared", str(Preprocessing.from_json(done.manifest.preprocessing))))
    labels = done.manifest.labels
    if labels is not None:
        facts.append(("labels", labels if isinstance(labels, str) else f"{len(labels)} names"))
    if done.manifest.decoder is not None:
        facts.append(("decoder", f"{done.manifest.decoder['name']}, of {done.manifest.task}"))
    common.print_facts(facts)
    common.print_next("profile", done.path)
