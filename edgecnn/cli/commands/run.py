"""`edgecnn run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.cli import common, training_options
from edgecnn.cli.terminal import note, say
from edgecnn.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgecnn.compress.train.run_report import Report
    from edgecnn.recipe.schema import Plan


@click.command("run")
@click.argument("recipe", type=click.Path())
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run  [runs/NAME].")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Value of a variable, or of STEP.OPTION."
)
@click.option("--dry-run", is_flag=True, help="Check the recipe and print its plan; do nothing.")
@common.common
def command(recipe: str, output: Path | None, changes: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Run a recipe, a YAML file, step by step; run it again to go on where it was cut off.

    \b
    edgecnn run recipes/digits_mobilenet_int8.yaml
    edgecnn run recipes/transfer_image_folder.yaml --set data=photos --set network.epochs=5
    """
    from edgecnn.recipe.inputs import check_inputs
    from edgecnn.recipe.schema import read

    plan = read(recipe, changes)
    check_inputs(plan)
    folder = output or Path("runs") / plan.name
    if dry_run:
        _print_plan(plan, folder, as_json)
        return 0
    with training_options.failing_together():
        training_options.alone("run")
    from edgecnn.recipe import summary
    from edgecnn.recipe.run_recipe import run

    try:
        with training_options.progress() as report, common.progress(None) as tell:
            ran = run(plan, folder, _Listener(report, tell))
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("the same command goes on where it was") from interrupt
    if as_json:
        common.print_json(ran.to_json())
    else:
        common.print_table(summary.COLUMNS, summary.rows(ran.outcomes), text=(0, 1))
        if compared := summary.candidates(ran.outcomes):
            common.print_table(summary.CANDIDATES, compared, text=(0,))
        for line in summary.details(ran.outcomes):
            say(line)
        for outcome in ran.outcomes:
            for remark in outcome.notes:
                note(f"{outcome.id}: {remark}")
        say(f"wrote {ran.folder}")
    return 0 if ran.met else common.EXIT_BUDGET


class _Listener:
    def __init__(self, report: Callable[[Report], None], tell: Progress) -> None:
        self._report, self._say, self._step = report, tell, ""

    def begin(self, step: str, number: int, total: int, *, done_before: bool) -> None:
        self._step = f"step {number} of {total}, {step}"
        self._say(f"{self._step}: done before" if done_before else self._step)

    def say(self, text: str) -> None:
        self._say(f"{self._step}, {text}")

    def report(self, report: Report) -> None:
        self._report(report)


def _print_plan(plan: Plan, folder: Path, as_json: bool) -> None:
    if as_json:
        steps = [
            {"id": step.id, "kind": step.kind.name, "options": dict(step.options), "seeds": list(step.seeds)}
            for step in plan.steps
        ]
        common.print_json({"name": plan.name, "path": str(folder), "steps": steps})
        return
    say(f"{plan.name}: {plan.about}".strip(": "))
    rows = []
    for number, step in enumerate(plan.steps, start=1):
        defaults = step.kind.defaults()
        said = {k: v for k, v in step.options.items() if k not in defaults or v != defaults[k]}
        suffix = step.kind.suffix_of(step.options)
        seeds = f"; seeds {', '.join(map(str, step.seeds))}" if step.seeds else ""
        made = f"{folder / step.id}{suffix}" if suffix else "-"
        options = ", ".join(f"{key} {value}" for key, value in said.items()) + seeds
        rows.append([str(number), step.id, step.kind.name, made, options])
    common.print_table(("", "step", "what", "makes", "with"), rows, text=(1, 2, 3, 4))
