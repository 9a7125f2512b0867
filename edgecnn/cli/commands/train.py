"""`edgecnn train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecnn.cli import common, request_options, training_options
from edgecnn.cli.terminal import note, say
from edgecnn.compress.qat.qat_request import QatRequest
from edgecnn.image_size import Size
from edgecnn.options import fields
from edgecnn.quantize.int8_options import Int8Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgecnn.compress.train.run_report import Report
    from edgecnn.compress.train.train_network import Trained
    from edgecnn.compress.train.train_request import TrainingRun, TrainRequest

#: What belongs to --qat.
_OF_QAT = tuple(fields(Int8Form))


@click.command("train")
@click.argument("name", metavar="NAME | FILE.py:FUNCTION | FILE.safetensors")
@click.option("--qat", is_flag=True, help="Train an int8 form of a trained network; writes an ONNX file.")
@request_options.options(
    QatRequest,
    without=("classes",),
    required=("data",),
    help={
        "target": "Form of --qat: a name of `edgecnn targets`.",
        "exclude": "Nodes that stay float with --qat: NAME with wildcards, op:OPERATOR, TENSOR..TENSOR.",
        "only": "Nodes that may become int8 with --qat, likewise; all others stay float.",
        "force": "Exit with 0, not 3, for --qat that keeps almost nothing; it is written in either case.",
    },
)
@common.common
@click.pass_context
def command(context: click.Context, name: str, qat: bool, as_json: bool, **values: Any) -> int:
    """Train network NAME, or go on from a checkpoint, on labelled images.

    Where weights are known for the network they are fine-tuned: a new classifier first, then everything.

    \b
    edgecnn train efficientnet_lite0 --data FOLDER_OF_CLASS_FOLDERS --epochs 10
    edgecnn train mobilenet --alpha 0.25 --resolution 32 --data digits --augmentation digits
    edgecnn train trained.safetensors --qat --target cpu --data digits --epochs 10
    torchrun --nproc-per-node 2 --no-python edgecnn train resnet18 --data cifar10
    """
    for option in _OF_QAT:
        if not qat and context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{option} belongs to --qat")
    if qat:
        return _quantized(name, as_json, values)
    from edgecnn.compress.train.train_request import TrainRequest

    with training_options.failing_together():
        request = request_options.request(TrainRequest, _without_qat(values), network=name)
        from edgecnn.compress.train.train_network import train

        train_and_print(train, request, as_json)
    return 0


def _without_qat(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _OF_QAT}


def train_and_print(
    train: Callable[[Any, Callable[[Report], None]], Trained], request: TrainRequest, as_json: bool
) -> None:
    """Train, and print what came of it in the process that speaks."""
    with training_options.resumable(request.output), training_options.progress() as show:
        trained = train(request, show)
    if not training_options.is_main_process():
        return
    if as_json:
        common.print_json(trained.to_json(), **_beside(request, trained))
    else:
        _print(trained, request)


def _beside(request: TrainingRun, trained: Trained) -> dict[str, Path | None]:
    """Return what was written beside the network, if it was trained now."""
    return {} if trained.done_before else {"log": request.log, "plot": request.plot}


def _quantized(name: str, as_json: bool, values: dict[str, Any]) -> int:
    with training_options.failing_together():
        training_options.alone("train --qat")
    request = request_options.request(QatRequest, values, network=name)
    from edgecnn.compress.qat.train_quantized import train_quantized

    with (
        training_options.resumable(request.output),
        training_options.progress() as show,
        common.progress(None) as tell,
    ):
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
            *_accuracy_facts(found),
            *common.parity_facts(parity, "the float network", "test images"),
            _simulation_fact(found),
        ]
    )
    common.print_floor(done.manifest.quantization)
    for remark in done.notes:
        note(remark)
    if code == 0:
        common.print_next("profile", done.path)
    return code


def _accuracy_facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the test images say of an int8 network, in float and before training."""
    facts = []
    if "top1" in found:
        fact = (
            f"{found['top1']:.2%} of {found['n']} test images; float {found['float_top1']:.2%},"
            f" int8 without training {found['untrained_top1']:.2%}"
        )
        facts.append(("top-1", fact))
    if "untrained_sqnr_db" in found:
        facts.append(("untrained", f"{common.decibels(found['untrained_sqnr_db'])} at the worst output"))
    return facts


def _simulation_fact(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the line on how near the file is to the network in training."""
    if "simulation_agreement" in found:
        return "simulation", f"answers as the network in training on {found['simulation_agreement']:.2%}"
    return "simulation", f"{common.decibels(found['simulation_sqnr_db'])} against the network in training"


def _measured(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Return the line on what the test images say: accuracy, or the loss of what does not classify."""
    images = f"{metrics['n']} test images of {metrics['data']}"
    from edgecnn.compress.train.log import figure, shown

    if found := figure(metrics):
        name, value = shown(*found)
        return name, f"{value} {'of' if name == 'top-1' else 'on'} {images}"
    return "loss", f"{metrics['loss']:.4f} on {images}, the network's own"


def _print(trained: Trained, request: TrainRequest) -> None:
    """Print what came of a run."""
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
                f"{manifest.architecture}{width}, {Size.of(manifest.resolution or 0)} pixels,"
                f" {common.amount(manifest.params)} parameters, {common.amount(manifest.macs)} MACs",
            ),
            ("trained", f"{' then '.join(step.parameters['stages'])}, {step.parameters['epochs']} epochs"),
            _measured(metrics),
        ]
    )
    for remark in trained.notes:
        note(remark)
    training_options.print_next(trained.path, request.network, request.data)
