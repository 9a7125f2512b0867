"""`edgecnn prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, training_options
from edgecnn.cli.terminal import say

if TYPE_CHECKING:
    from edgecnn.compress.prune.goal import Goal
    from edgecnn.compress.prune.prune_result import Written
    from edgecnn.compress.prune.prune_to_latency import LatencyGoal


@click.command("prune")
@click.argument("name", metavar="NAME | FILE.safetensors")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write  [NAME-pruned.safetensors]."
)
@click.option("--ratio", type=float, help="Share of the channels that goes, 0 to 1.")
@click.option("--target-macs", help="Multiply-accumulates that are left: 100M, 0.5x.")
@click.option("--target-params", help="Parameters that are left: 2M, 0.5x.")
@click.option("--target-latency", help="Latency that is measured on this machine: 4ms, 0.6x.")
@click.option("--sparsity", type=click.Choice(["2:4"]), help="Zeros for GPUs that skip them; channels stay.")
@click.option(
    "--importance",
    help="Importance of channels: magnitude, bn, taylor, fpgm, random  [taylor with --data, else magnitude].",
)
@click.option(
    "--spread",
    default="uniform",
    show_default=True,
    help="Spread: uniform (alike in all layers) or global (ranked together).",
)
@click.option(
    "--align", type=int, help="Multiple that channel counts should have  [8; in int8 the target's]."
)
@click.option("--target", help="Form of int8 to time: a name of `edgecnn targets`  [float32].")
@click.option(
    "--data", help="Labelled images: a folder of class folders, digits, mnist, cifar10, hf:OWNER/NAME."
)
@click.option(
    "--epochs", type=int, default=0, show_default=True, help="Epochs of fine-tuning, in each round."
)
@click.option("--rounds", type=int, default=1, show_default=True, help="Rounds of pruning and fine-tuning.")
@click.option("--batch", type=int, default=64, show_default=True, help="Images per step of fine-tuning.")
@click.option("--lr", type=float, help="Highest learning rate of fine-tuning  [by batch].")
@click.option(
    "--augmentation",
    default="light",
    show_default=True,
    help="Augmentation: none, digits, light, standard, strong.",
)
@click.option("--measure/--no-measure", default=True, show_default=True, help="Whether to time the result.")
@click.option(
    "--seconds", type=float, default=3.0, show_default=True, help="Seconds for each network per measurement."
)
@click.option(
    "--threads", type=int, default=0, show_default=True, help="Threads of the engine; 0: its own choice."
)
@common.network(weights="auto")
@common.common
def command(
    name: str,
    output: Path | None,
    ratio: float | None,
    target_macs: str | None,
    target_params: str | None,
    target_latency: str | None,
    sparsity: str | None,
    epochs: int,
    batch: int,
    lr: float | None,
    augmentation: str,
    as_json: bool,
    **values: Any,
) -> int:
    """Make network NAME, or a checkpoint, smaller by taking out channels.

    \b
    edgecnn prune trained.safetensors --target-latency 0.6x --data photos/ --epochs 10
    edgecnn prune resnet18 --target-macs 0.5x -o half.safetensors
    edgecnn prune trained.safetensors --sparsity 2:4 --data photos/ --epochs 10
    """
    given = (ratio, target_macs, target_params, target_latency, sparsity)
    if sum(item is not None for item in given) != 1:
        raise click.UsageError(
            "give one of --ratio, --target-macs, --target-params, --target-latency, --sparsity"
        )
    with training_options.failing_together():
        training_options.alone("prune")
    from edgecnn.compress.prune.prune_file import PruneRequest, prune_file
    from edgecnn.compress.train.train_options import TrainOptions
    from edgecnn.errors import InvalidValueError

    if epochs < 0:
        raise InvalidValueError(f"{epochs} epochs cannot be trained", hint="0 for no fine-tuning")
    seed = values["seed"]
    spec = common.spec(name, values)
    options = None
    if epochs:
        chosen = {"epochs": epochs, "batch": batch, "lr": lr, "augmentation": augmentation, "seed": seed}
        options = TrainOptions(**chosen, warmup=min(1.0, epochs / 10))
    request = PruneRequest(
        network=spec,
        output=output or Path(f"{spec.stem}-pruned.safetensors"),
        goal=_goal(ratio, target_macs, target_params, target_latency),
        sparse=sparsity is not None,
        options=options,
        **values,
    )
    with training_options.progress() as report, common.progress(None) as show:
        written = prune_file(request, show, report)
    if as_json:
        common.print_json(written.to_json())
    else:
        _print(written)
        training_options.print_next(written.path, request.data, request.target)
    return 0 if written.met else common.EXIT_BUDGET


def _goal(
    ratio: float | None, macs: str | None, params: str | None, latency: str | None
) -> Goal | LatencyGoal | None:
    from edgecnn.compress.prune.goal import Goal
    from edgecnn.compress.prune.prune_to_latency import LatencyGoal

    if ratio is not None:
        return Goal.without(ratio)
    if macs is not None:
        return Goal.parse("macs", macs)
    if params is not None:
        return Goal.parse("params", params)
    return None if latency is None else LatencyGoal.parse(latency)


def _print(written: Written) -> None:
    before, after, timing = written.before, written.after, written.timing
    if written.attempts:
        rows = [
            [
                item.stage,
                f"{item.macs / before.macs:.2f}x",
                f"{item.params / before.params:.2f}x",
                f"{item.timing.milliseconds:.3g} ms",
                f"{item.timing.ratio:.3f}x",
                "-" if item.accuracy is None else f"{item.accuracy:.2%}",
            ]
            for item in written.attempts
        ]
        common.print_table(["step", "MACs", "parameters", "latency", "of before", "top-1"], rows)
    facts = [
        (
            "wrote",
            f"{written.path}  ({common.size(written.path.stat().st_size)}, sha256 {written.sha256[:12]})",
        ),
        (
            "MACs",
            f"{common.amount(after.macs)} of {common.amount(before.macs)}, {after.macs / before.macs:.2f}x",
        ),
        (
            "parameters",
            f"{common.amount(after.params)} of {common.amount(before.params)},"
            f" {after.params / before.params:.2f}x",
        ),
    ]
    if timing:
        low, high = min(timing.ratios), max(timing.ratios)
        facts.append(
            (
                "latency",
                f"{timing.milliseconds:.3g} ms of {timing.reference:.3g} ms, {timing.ratio:.2f}x"
                f" ({low:.2f} to {high:.2f}), in turns on this machine",
            )
        )
    if written.top1 is not None:
        before_it = "" if written.top1_before is None else f" of {written.top1_before:.2%} before"
        facts.append(("top-1", f"{written.top1:.2%}{before_it}, on the test images"))
    common.print_facts(facts)
    for note in written.notes:
        say(f"note: {note}", fg="yellow")
