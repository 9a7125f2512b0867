"""The images that a network was trained with: they are known by content, and none of them tests it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import Manifest, Step
from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, Images, demand_task
from edgecnn.data.folder import LabelledImages, TrainingImages, labelled, of_dataset
from edgecnn.data.formats import place_of
from edgecnn.data.open_dataset import is_local, open_dataset
from edgecnn.data.sequences import Joined
from edgecnn.errors import DataError
from edgecnn.progress import Progress, silent
from edgecnn.runtime import labels

#: Of a step's parameters: hashes of the images that trained and validated (`identity.pack`).
HASHES = "training_images"
#: Of their pixels, where these are few enough to decode (`identity.pack_pixels`).
PIXELS = "training_pixels"


def describe(dataset: DataSet, lineage: Sequence[Step] = ()) -> dict[str, Any]:
    """Return what a step records of the data that it trains with, after the steps of `lineage`.

    Of images that are files their hashes, unless they are too many or an earlier step has the same.
    """
    values = {"data": dataset.name, "data_sha256": dataset.sha256, "split_seed": dataset.split_seed}
    if isinstance(dataset.train.images, np.ndarray):
        return values
    known = (step.parameters for step in lineage if HASHES in step.parameters)
    if any(all(step.get(key) == values[key] for key in ("data_sha256", "split_seed")) for step in known):
        return values
    images = Joined([dataset.train.images, dataset.validation.images])
    packed = {HASHES: identity.pack(images), PIXELS: identity.pack_pixels(images)}
    return {**values, **{key: text for key, text in packed.items() if text is not None}}


def open_for(
    manifests: Sequence[Manifest | None],
    name: str,
    *,
    task: str | None = "classification",
    seed: int = 0,
    validation: float | None = None,
    progress: Progress = silent,
) -> DataSet:
    """Open a data set with the split of the first training on it that a lineage tells of, else by `seed`.

    Whatever is trained later keeps that split, else it would learn from images that test it. Where the set is
    not the same, what trained before does not test. `validation` is the share that validates; None for that
    training's. `task` is what the labels have to be for; None where nobody reads them. Raises DataError.
    """
    steps = [step for manifest in manifests for step in _trainings(manifest)]
    dataset = _opened_as_then(steps, name, validation, progress)
    if dataset is None:
        share = 0.1 if validation is None else validation
        dataset = open_dataset(name, seed=seed, validation=share, progress=progress)
    if task is not None:
        demand_task(dataset, task)
    rows, unknown = _untrained(dataset.test.images, steps, dataset, progress)
    notes = [*dataset.notes, *([_warning(name, unknown)] if unknown else [])]
    if trained := len(dataset.test) - len(rows):
        dataset = _exchanged(dataset, steps)
        if not len(dataset.test):
            raise _all_trained(name)
        notes.append(f"{trained} images of {name} train as they did before, others test instead of them")
    return replace(dataset, notes=tuple(notes))


def _exchanged(dataset: DataSet, steps: Sequence[Step]) -> DataSet:
    """Return a data set in which no image tests that trained in a step, but one of its class that did not."""
    parts = (dataset.train, dataset.validation, dataset.test)
    kind = dataset.train.kind
    every = Examples(
        Joined([part.images for part in parts]), kind.join([part.labels for part in parts]), dataset.task
    )
    strata = kind.strata(every.labels)
    place = np.repeat(np.arange(3), [len(part) for part in parts])
    seen = _recorded(steps).holds(every.images)
    for stratum in np.unique(strata):
        leaving = np.flatnonzero((strata == stratum) & (place == 2) & seen)
        coming = np.flatnonzero((strata == stratum) & (place != 2) & ~seen)[: len(leaving)]
        place[leaving], place[coming] = 0, 2
    train, validation, test = (every.take(np.flatnonzero(place == part)) for part in range(3))
    return replace(dataset, train=train, validation=validation, test=test)


def test_images(
    manifest: Manifest | None,
    name: str,
    classes: int | None,
    progress: Progress = silent,
    task: str | None = "classification",
) -> LabelledImages:
    """Return labelled images that test a network: of a data set that trained it, the part that did not.

    `classes` is how many the network knows; None for one that has no classes of its own. `task` is what the
    labels have to be for; None for any.
    Of any other, what `folder.labelled` takes, without images that trained the network: `training` says how
    many these were, and why others cannot be told. Raises DataError.
    """
    names = labels.known_names(manifest.labels if manifest else None, classes) if classes else ()
    steps = _trainings(manifest)
    dataset = _opened_as_then(steps, name, None, progress)
    if dataset:
        found = of_dataset(dataset, classes, names, task)
    else:
        found = labelled(name, classes, names, progress, task)
    rows, unknown = _untrained(found.images, steps, dataset, progress)
    if not len(rows):
        raise _all_trained(name)
    left_out = len(found.images) - len(rows)
    if left_out:
        test = Examples(found.images, found.labels, found.task).take(rows)
        found = replace(found, images=test.images, labels=test.labels)
    unknown = unknown or _untold_origin(manifest, steps)
    notes = (*found.notes, *([_warning(name, unknown)] if unknown else []))
    return replace(found, notes=notes, training=TrainingImages(left_out, unknown))


def _trainings(manifest: Manifest | None) -> list[Step]:
    """Return the steps that took data."""
    steps = manifest.lineage if manifest else ()
    return [step for step in steps if isinstance(step.parameters.get("data"), str)]


def _opened_as_then(
    steps: Sequence[Step], name: str, validation: float | None, progress: Progress
) -> DataSet | None:
    """Open a data set that trained in one of the steps, with the split of then; None if it is another.

    It is the same by its name or its path, or by what it holds, wherever that lies.
    """
    step = next((step for step in steps if _same(step.parameters["data"], name)), None)
    if step is None and steps and (is_local(name) or name.startswith("hf:")):
        try:
            sha256 = open_dataset(name, progress=progress).sha256
        except DataError:
            return (
                None  # no set that could have trained; whoever opens it otherwise says what is wrong with it
            )
        step = next((step for step in steps if step.parameters.get("data_sha256") == sha256), None)
    if step is None:
        return None
    share = step.parameters.get("validation", 0.1) if validation is None else validation
    return open_dataset(name, seed=_seed(step), validation=share, progress=progress)


def _untrained(
    images: Images, steps: Sequence[Step], dataset: DataSet | None, progress: Progress
) -> tuple[npt.NDArray[np.int64], str]:
    """Return the rows of the images that trained in none of the steps, and why others may have; "" if none.

    The images are those that test in `dataset`, if that is given.
    """
    others = [step for step in steps if dataset is None or not _has_split(step, dataset)]
    recorded = [step.parameters for step in others if HASHES in step.parameters]
    told = {(values.get("data_sha256"), values.get("split_seed")) for values in recorded}
    untold = [
        step.parameters["data"]
        for step in others
        if (step.parameters.get("data_sha256"), step.parameters.get("split_seed")) not in told
    ]
    by_file = [values["data"] for values in recorded if PIXELS not in values]
    unknown = f"of {untold[0]}, which trained it, the images are not recorded" if untold else ""
    if by_file and not untold:
        unknown = f"of {by_file[0]}, which trained it, its images are known as files, not when saved anew"
    if not recorded:
        return np.arange(len(images)), unknown
    progress("looking for images that trained the network")
    return np.flatnonzero(~_recorded(others).holds(images)), unknown


def _recorded(steps: Sequence[Step]) -> identity.Known:
    """Return the hashes of images that the steps recorded; earlier files have none of pixels."""

    def union(key: str) -> frozenset[bytes]:
        texts = (step.parameters[key] for step in steps if key in step.parameters)
        return frozenset().union(*map(identity.unpack, texts))

    return identity.Known(union(HASHES), union(PIXELS))


def _has_split(step: Step, dataset: DataSet) -> bool:
    """Return whether a step trained with this very data set, divided like this."""
    recorded = step.parameters.get("data_sha256")
    same = _same(step.parameters["data"], dataset.name) if recorded is None else recorded == dataset.sha256
    return same and _seed(step) == dataset.split_seed


def _seed(step: Step) -> int:
    return step.parameters.get("split_seed", step.seed or 0)


def _untold_origin(manifest: Manifest | None, steps: Sequence[Step]) -> str:
    """Return why nothing is known of the images that trained a network without a training in its lineage."""
    if steps or (manifest is not None and manifest.weights == "random"):
        return ""
    if manifest is None or manifest.weights is None:
        return "the file does not say what trained it"
    return f"its weights ({manifest.weights}) come without a record of what trained them"


def _warning(name: str, unknown: str) -> str:
    return f"images of {name} may have trained this network: {unknown}"


def _all_trained(name: str) -> DataError:
    return DataError(
        f"all images of {name} trained this network, and none can test it",
        hint="give images that it never saw",
    )


def _same(recorded: str, name: str) -> bool:
    here = place_of(name)
    return recorded == name or (here.exists() and place_of(recorded).resolve() == here.resolve())
