"""`edgecnn prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, request_options, training_options
from edgecnn.cli.terminal import note
from edgecnn.compress.prune.prune_request import GOALS, PruneRequest

if TYPE_CHECKING:
    from edgecnn.compress.prune.prune_result import PrunedFile


@click.command("prune")
@click.argument("name", metavar="NAME | FILE.py:FUNCTION | FILE.safetensors")
@request_options.options(PruneRequest)
@common.common
def command(name: str, as_json: bool, **values: Any) -> int:
    """Make network NAME, or a checkpoint, smaller by taking out channels.

    \b
    edgecnn prune trained.safetensors --target-latency 0.6x --data photos/ --epochs 10
    edgecnn prune resnet18 --target-macs 0.5x -o half.safetensors
    edgecnn prune trained.safetensors --sparsity 2:4 --data photos/ --epochs 10
    """
    if sum(values[goal] is not None for goal in GOALS) != 1:
        names = ", ".join("--" + goal.replace("_", "-") for goal in GOALS)
        raise click.UsageError(f"give one of {names}")
    with training_options.failing_together():
        training_options.alone("prune")
    request = request_options.request(PruneRequest, values, network=name)
    from edgecnn.compress.prune.prune_file import prune_file

    with training_options.progress() as report, common.progress(None) as show:
        written = prune_file(request, show, report)
    if as_json:
        common.print_json(written.to_json())
    else:
        _print(written)
        training_options.print_next(written.path, request.network, request.data, request.target)
    return 0 if written.met else common.EXIT_BUDGET


def _print(written: PrunedFile) -> None:
    from edgecnn.compress.train.log import shown

    before, after, timing = written.before, written.after, written.timing
    if written.attempts:
        rows = [
            [
                item.stage,
                f"{item.macs / before.macs:.2f}x",
                f"{item.params / before.params:.2f}x",
                f"{item.timing.milliseconds:.3g} ms",
                f"{item.timing.ratio:.3f}x",
                "-" if item.accuracy is None else shown(written.figure, item.accuracy)[1],
            ]
            for item in written.attempts
        ]
        common.print_table(
            ["step", "MACs", "parameters", "latency", "of before", shown(written.figure, 0)[0]], rows
        )
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
    if written.accuracy is not None:
        name, value = shown(written.figure, written.accuracy)
        known = written.accuracy_before
        before_it = "" if known is None else f" of {shown(written.figure, known)[1]} before"
        facts.append((name, f"{value}{before_it}, on the test images"))
    common.print_facts(facts)
    for remark in written.notes:
        note(remark)
