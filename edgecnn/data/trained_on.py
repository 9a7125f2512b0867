"""The images that a network was trained with, split as they were then: none of those tests it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecnn.artifact import Manifest
from edgecnn.data.dataset import DataSet, open_dataset
from edgecnn.data.folder import LabelledImages, labelled
from edgecnn.runtime import labels


def open_for(
    manifest: Manifest | None, name: str, progress: Callable[[str], None] = lambda step: None
) -> DataSet:
    """Open a data set, with the split of the training if the lineage says that it trained this network.

    Raises DataError.
    """
    for step in reversed(manifest.lineage if manifest else ()):
        if _same(step.parameters.get("data"), name):
            validation = step.parameters.get("validation", 0.1)
            return open_dataset(name, seed=step.seed or 0, validation=validation, progress=progress)
    return open_dataset(name, progress=progress)


def test_images(
    manifest: Manifest | None,
    name: str,
    classes: int,
    progress: Callable[[str], None] = lambda step: None,
) -> LabelledImages:
    """Return labelled images that test a network: of a data set that trained it, the part that did not.

    Of any other, what `folder.labelled` takes. Raises DataError.
    """
    trained = any(_same(step.parameters.get("data"), name) for step in (manifest.lineage if manifest else ()))
    if trained and Path(name).is_dir():
        part = open_for(manifest, name, progress).test
        return LabelledImages(f"{name}, its test images", part.images, part.labels.tolist())
    known = labels.names(manifest.labels if manifest else None, classes)
    return labelled(name, classes, known, progress)


def _same(recorded: object, name: str) -> bool:
    if not isinstance(recorded, str):
        return False
    return recorded == name or (Path(name).is_dir() and Path(recorded).resolve() == Path(name).resolve())
