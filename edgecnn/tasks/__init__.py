"""What a network's outputs mean: one file per task, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.registry import Registry
from edgecnn.tasks.classification import Classification
from edgecnn.tasks.decoded import Decoded
from edgecnn.tasks.decoders import DECODERS, NetworkEnd
from edgecnn.tasks.detection import Detection
from edgecnn.tasks.segmentation import Segmentation
from edgecnn.tasks.task import Task
from edgecnn.tasks.tensors import Tensors

TASKS: Registry[Task] = Registry("task")
#: What any network can be asked; a network of which nothing else is known is of the first task that suits it.
TENSORS = Tensors()
for _task in (Classification(), Detection(), Segmentation(), TENSORS):
    TASKS.add(_task.name, _task)


def told_by(end: NetworkEnd) -> Task:
    """Return the task of a network of which nothing but where it ends is known."""
    return next(task for task in TASKS if task.suits(end)).of(end, None)


def task_of(name: str | None, end: NetworkEnd, decoder: Mapping[str, Any] | None = None) -> Task:
    """Return the task that a manifest names, else what the decoder or the outputs tell.

    Raises UnknownNameError, and ArtifactError where task and decoder do not go together.
    """
    if name is not None:
        return TASKS.get(name).of(end, decoder)
    if decoder is None:
        return told_by(end)
    kind = DECODERS.get(str(decoder.get("name")))
    row = next(task for task in TASKS if isinstance(task, Decoded) and isinstance(kind, task.decoders))
    return row.of(end, decoder)


def task_of_values(outputs: Sequence[Output], size: Size | None = None) -> Task:
    """Return the task of a network by what it gave, (images, ...) each, for inputs of a size."""
    return told_by(NetworkEnd([item.spec for item in outputs], size))


__all__ = ["TASKS", "TENSORS", "NetworkEnd", "Task", "task_of", "task_of_values", "told_by"]
