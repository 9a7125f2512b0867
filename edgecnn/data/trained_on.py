"""The images that a network was trained with, split as they were then: none of those tests it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgecnn.artifact import Manifest, Step
from edgecnn.data.dataset import DataSet, open_dataset
from edgecnn.data.folder import LabelledImages, labelled, of_dataset
from edgecnn.runtime import labels


def open_for(
    manifests: Sequence[Manifest | None],
    name: str,
    *,
    seed: int = 0,
    validation: float | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> DataSet:
    """Open a data set with the split of the first training on it that a lineage tells of, else by `seed`.

    Whatever is trained later keeps that split, else it would learn from images that test it. `validation` is
    the share that validates; None for that training's. Raises DataError.
    """
    step = next(filter(None, (_first(manifest, name) for manifest in manifests)), None)
    if step is not None:
        seed = step.parameters.get("split_seed", step.seed or 0)
    if validation is None:
        validation = step.parameters.get("validation", 0.1) if step is not None else 0.1
    return open_dataset(name, seed=seed, validation=validation, progress=progress)


def test_images(
    manifest: Manifest | None,
    name: str,
    classes: int,
    progress: Callable[[str], None] = lambda step: None,
) -> LabelledImages:
    """Return labelled images that test a network: of a data set that trained it, the part that did not.

    Of any other, what `folder.labelled` takes. Raises DataError.
    """
    known = labels.names(manifest.labels if manifest else None, classes)
    if _first(manifest, name) is not None:
        return of_dataset(open_for([manifest], name, progress=progress), classes, known)
    return labelled(name, classes, known, progress)


def _first(manifest: Manifest | None, name: str) -> Step | None:
    """Return the first step that took this data."""
    steps = manifest.lineage if manifest else ()
    return next((step for step in steps if _same(step.parameters.get("data"), name)), None)


def _same(recorded: object, name: str) -> bool:
    if not isinstance(recorded, str):
        return False
    return recorded == name or (Path(name).is_dir() and Path(recorded).resolve() == Path(name).resolve())
