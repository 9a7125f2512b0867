"""`edgecnn predict`."""

from __future__ import annotations

import click

from edgecnn.cli import common
from edgecnn.cli.engines import opened
from edgecnn.cli.on import BoardCommand, BoardPath
from edgecnn.cli.terminal import say


@click.command("predict", cls=BoardCommand)
@click.argument("model", type=BoardPath(sent=True))
@click.argument("images", type=BoardPath(sent=True), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes per image.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@common.common
def command(model: str, images: tuple[str, ...], top: int, device: str, as_json: bool) -> None:
    """Name what is in IMAGES with MODEL, a file that `edgecnn export` wrote."""
    with common.progress(None) as show, opened([model], None, show, device=device) as (engine,):
        results = [engine.predict(image, top=top)[0] for image in images]
        random = engine.manifest is not None and engine.manifest.weights == "random"
    if as_json:
        common.print_json(
            {
                "path": model,
                "random_weights": random,
                "predictions": [
                    {
                        "image": image,
                        "classes": [
                            {"index": p.index, "label": p.label, "probability": p.probability} for p in result
                        ],
                    }
                    for image, result in zip(images, results, strict=True)
                ],
            }
        )
        return
    for image, result in zip(images, results, strict=True):
        say(image)
        for item in result:
            say(f"  {item.probability:6.1%}  {item.label} ({item.index})")
    if random:
        say("this model's weights are random: the classes mean nothing", fg="yellow", err=True)
