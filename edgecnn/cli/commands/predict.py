"""`edgecnn predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, drawn_pictures, request_options
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.terminal import note, say
from edgecnn.measure.measure_options import PredictRequest
from edgecnn.progress import Progress

if TYPE_CHECKING:
    from edgecnn.runtime import Engine


@dataclass(frozen=True)
class _Failed:
    """An image or a folder that cannot be read."""

    image: str
    error: str
    hint: str | None


def _outputs(images: tuple[str, ...], draw: Path | None, **_: Any) -> list[Path]:
    return [] if draw is None else drawn_pictures.places(draw, _listed(images, [])[0])


@click.command("predict", cls=BoardCommand, outputs=_outputs)
@click.argument("model", type=BoardPath(sent=True))
@click.argument(
    "images", metavar="IMAGE | FOLDER...", type=BoardPath(sent=True, folder=True, file=True), nargs=-1,
    required=True,
)  # fmt: skip
@click.option(
    "--top",
    type=click.IntRange(1),
    help="Classes or objects per image, at most.  [default: 5, or 100 objects]",
)
@click.option(
    "--draw",
    type=BoardPath(fetched=True, path_type=Path),
    metavar="DIR",
    help="Folder for a copy of each picture with the boxes or masks that were found.",
)
@request_options.options(PredictRequest, without=("threads", "backend"))
@common.common
def command(
    model: str, images: tuple[str, ...], top: int | None, draw: Path | None, as_json: bool, **values: Any
) -> int:
    """Name what is in images, or in all images of folders, with MODEL, a file that `edgecnn export` wrote.

    Of a detector say where objects are, of a segmenter how much each class covers; of another network, what
    each output holds.

    What cannot be read is named and left out; the exit code is then 1.
    """
    from edgecnn.cli import _report
    from edgecnn.verbs.engines import opened

    notes: list[str] = []
    request = request_options.request(PredictRequest, values)
    with common.progress(None) as show, opened([model], request, show) as (engine,):
        engine.take_constants(request.inputs.constants)
        files, failed = _listed(images, notes)
        if draw is not None:
            drawn_pictures.check(engine, draw, files)
        predictions = _predictions(engine, files, top, failed, show)
        drawn = [] if draw is None else drawn_pictures.draw(engine, predictions, draw)
        random = engine.manifest is not None and engine.manifest.weights == "random"
    if as_json:
        common.print_json(
            {
                "path": model,
                "random_weights": random,
                "predictions": [
                    {
                        "image": image,
                        **engine.task.to_json(answer),
                    }
                    for image, answer in predictions.items()
                ],
                "failed": [vars(item) for item in failed],
                "notes": notes,
                "drawn": [str(path) for path in drawn],
            }
        )
    else:
        for image, answer in predictions.items():
            say(image)
            for line in engine.task.lines(answer):
                say(f"  {line}")
        if drawn:
            say(f"wrote {len(drawn)} pictures to {draw}")
    for remark in notes:
        note(remark, err=True)
    for failure in failed:
        _report(failure.error, failure.hint)
    if random and predictions:
        say("this model's weights are random: the classes mean nothing", fg="yellow", err=True)
    return 1 if failed else 0


def _listed(images: Sequence[str], notes: list[str]) -> tuple[list[str], list[_Failed]]:
    """Return the images, and those of the folders among them; what these hold besides goes into `notes`."""
    from edgecnn.errors import DataError
    from edgecnn.runtime.image_folder import demand_images, list_folder

    files: list[str] = []
    failed: list[_Failed] = []
    for image in images:
        if not Path(image).is_dir():
            files.append(image)
            continue
        try:
            found = demand_images(list_folder(image))
        except DataError as error:
            failed.append(_Failed(image, str(error), error.hint))
        else:
            files += map(str, found.images)
            notes += found.notes
    return files, failed


def _predictions(
    engine: Engine, files: Sequence[str], top: int | None, failed: list[_Failed], show: Progress
) -> dict[str, Any]:
    """Return the answer for every image that can be read; the others go into `failed`."""
    from edgecnn.errors import DataError

    found: dict[str, Any] = {}
    for number, image in enumerate(files):
        if len(files) > 1:
            show(f"images: {number} of {len(files)}")
        try:
            found[image] = engine.predict(image, top=top)[0]
        except DataError as error:
            failed.append(_Failed(image, str(error), error.hint))
    return found
