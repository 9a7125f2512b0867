"""Distillation: the training run of a student, with a teacher beside the labels or instead of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgecnn.compress.distill.distill_request import DistillOptions, DistillRequest
from edgecnn.compress.distill.objective import Distillation, raw_distance
from edgecnn.compress.distill.teacher import Teacher, check_classes, open_teacher
from edgecnn.compress.input_batch import InputBatch
from edgecnn.compress.losses import has_losses
from edgecnn.compress.train.lesson import Lesson
from edgecnn.compress.train.run_report import Report
from edgecnn.compress.train.train_network import Trained, train
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, Images, file_size
from edgecnn.data.loader import Loader
from edgecnn.data.sequences import Joined, Picked
from edgecnn.data.trained_on import open_for
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.runtime.image_folder import demand_images, list_folder
from edgecnn.runtime.labels import names
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.decoder import task
from edgecnn.zoo.spec import NetworkSpec

#: Of images without labels, one in so many measures how often the student agrees with its teacher.
_HELD_OUT = 10
#: Label of an image that has none.
UNLABELED = -1


def distill(request: DistillRequest, report: Callable[[Report], None] = lambda report: None) -> Trained:
    """Train a network with a teacher, as `train_network.train` does; raises what that raises."""
    return train(request, report, FromTeacher(request.teaching))


@dataclass(frozen=True)
class FromTeacher:
    """Learning from a teacher, with labels beside it or without."""

    teaching: DistillOptions

    @property
    def what(self) -> str:
        """What the lineage calls it."""
        return "distill"

    @cached_property
    def opened(self) -> Teacher:
        """The teacher, ready to answer."""
        teaching = self.teaching
        return open_teacher(
            teaching.teacher, teaching.teacher_weights, teaching.preprocessing, teaching.teacher_code
        )

    def to_json(self) -> Mapping[str, Any]:
        """Return what the lineage records."""
        values = dataclasses.asdict(self.teaching)
        for name in ("teacher_mean", "teacher_std", "teacher_code"):
            if values[name] is None:
                del values[name]
        values["unlabeled"] = None if self.teaching.unlabeled is None else str(self.teaching.unlabeled)
        return {**values, "teacher_sha256": self.opened.identity}

    def objective(
        self, student: nn.Module, preprocessing: Preprocessing, dataset: DataSet, lesson: Lesson
    ) -> nn.Module:
        """Return the loss; raises DataError if the teacher's classes are not those of the data."""
        if has_losses(student):
            raise InvalidValueError(
                f"{type(student).__name__} gives losses in training, and no answers like a teacher's",
                hint="edgecnn train trains it by them",
            )
        check_classes(self.opened, dataset.labels, dataset.classes)
        of_head: dict[str, Any] = {}
        if lesson.head_loss is not None:
            of_head = {"answers": raw_distance, "labels": lesson.head_loss}
        return Distillation(
            student,
            preprocessing,
            self.opened,
            **of_head,
            temperature=self.teaching.temperature,
            weight=self.teaching.weight,
            features=self.teaching.features,
            feature_weight=self.teaching.feature_weight,
        )

    def dataset(self, name: str | None, options: TrainOptions, student: NetworkSpec) -> DataSet:
        """Return the labelled images, the unlabelled ones among those that train; or the latter alone.

        What tests the teacher tests the student: it would not learn that from the labels, but be told.
        """
        if self.teaching.unlabeled is not None and task(student) is not None:
            raise InvalidValueError(
                f"{student.name} cannot learn from images without labels", hint="leave out `unlabeled`"
            )
        if name is not None:
            known = [student.manifest, self.opened.manifest]
            labelled = open_for(
                known,
                name,
                task=student.architecture.task,
                seed=options.seed,
                validation=options.validation,
            )
            return labelled if self.teaching.unlabeled is None else _with(labelled, self.teaching.unlabeled)
        if self.teaching.unlabeled is None:
            raise InvalidValueError("there is nothing to learn from", hint="give `data`, `unlabeled` or both")
        return self._labelled_by_teacher(self.teaching.unlabeled, options)

    def _labelled_by_teacher(self, folder: Path, options: TrainOptions) -> DataSet:
        """Return images without labels; for those that measure, the teacher's answers stand in."""
        found = demand_images(list_folder(folder))
        files = found.images
        if len(files) < 2 * _HELD_OUT:
            raise DataError(f"{folder} holds {len(files)} images: too few", hint="hundreds or more")
        order = np.random.default_rng(options.seed).permutation(len(files))
        held_out = Picked(files, np.sort(order[::_HELD_OUT]))
        rest = Picked(files, np.sort(np.delete(order, np.s_[::_HELD_OUT])))
        loader = Loader(
            Examples(held_out, np.zeros(len(held_out), np.int64)),
            self.opened.preprocessing,
            options.batch,
            shuffle=False,
            drop_last=False,
        )
        to_input = InputBatch(self.opened.preprocessing)
        answers = [self.opened(to_input(frames))[0].argmax(1) for frames, _ in loader.epoch(0)]
        if loader.skipped:
            raise DataError(f"{loader.skipped[0]} cannot be read", hint="leave it out")
        test = Examples(held_out, torch.cat(answers).numpy())
        labels = self.opened.labels or tuple(names(None, self.opened.classes))
        return DataSet(
            f"{folder}, answered by the teacher",
            labels,
            self.opened.preprocessing.channels,
            Examples(rest, np.full(len(rest), UNLABELED, np.int64)),
            Examples([], np.zeros(0, np.int64)),
            test,
            _fingerprint(folder, files),
            notes=tuple(found.notes),
        )


def _with(labelled: DataSet, folder: Path) -> DataSet:
    found = demand_images(list_folder(folder))
    files, copies = _not_held_out(found.images, labelled)
    train = Examples(
        Joined([labelled.train.images, files]),
        np.concatenate([labelled.train.labels, np.full(len(files), UNLABELED, np.int64)]),
    )
    both = hashlib.sha256(f"{labelled.sha256} {_fingerprint(folder, files)}".encode()).hexdigest()
    notes = (*labelled.notes, *found.notes, *copies)
    return dataclasses.replace(labelled, train=train, sha256=both, notes=notes)


def _not_held_out(files: list[Path], labelled: DataSet) -> tuple[list[Path], list[str]]:
    """Return the files that are no copies of images that validate or test, and what to say of the others."""
    held_out: Images = Joined([labelled.validation.images, labelled.test.images])
    every: Images = Joined([held_out, files])
    sizes = [identity.size(every[row]) for row in range(len(every))]
    found = identity.find_copies(every, sizes)
    rest = [
        file
        for file, first in zip(files, found.firsts[len(held_out) :], strict=True)
        if first >= len(held_out)
    ]
    notes = [found.note] if found.note else []
    if copies := len(files) - len(rest):
        notes.append(f"{copies} unlabelled images left out: copies of held-out ones")
    return rest, notes


def _fingerprint(folder: Path, files: list[Path]) -> str:
    listed = "\n".join(f"{file.relative_to(folder)} {file_size(file)}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()
