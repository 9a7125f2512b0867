"""`edgecnn eval`."""

from __future__ import annotations

import click

from edgecnn.cli import common
from edgecnn.cli.results import keep, store_option


@click.command("eval")
@click.argument("model", type=click.Path())
@click.option(
    "--data",
    required=True,
    help="A folder with one folder per class, or: digits, mnist, cifar10, hf:OWNER/NAME.",
)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Images per inference.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@store_option
@common.common
def command(
    model: str, data: str, batch: int, device: str, threads: int, no_store: bool, as_json: bool
) -> None:
    """Measure top-1 and top-5 accuracy of MODEL on labelled images."""
    from edgecnn.data.trained_on import test_images
    from edgecnn.measure.accuracy import evaluate
    from edgecnn.runtime import load

    with load(model, device=device, threads=threads) as engine:
        manifest = engine.manifest
        with common.progress(None) as show:
            dataset = test_images(manifest, data, engine.classes, show)
            accuracy = evaluate(engine, dataset, batch=batch, progress=show)
    values = accuracy.to_json()
    if not no_store:
        keep("eval", engine, values)
    if as_json:
        common.print_json(values)
        return
    low, high = accuracy.interval
    common.print_facts(
        [
            ("top-1", f"{accuracy.top1:.2%}  (95 % interval {low:.2%} to {high:.2%})"),
            ("top-5", f"{accuracy.top5:.2%}"),
            ("images", f"{accuracy.n} of {dataset.name}"),
            (
                "time",
                f"{accuracy.seconds:.1f} s, {accuracy.n / accuracy.seconds:.0f} images/s, decoding included",
            ),
        ]
    )
    if manifest and manifest.weights == "random":
        click.secho("this model's weights are random: its accuracy is chance", fg="yellow", err=True)
