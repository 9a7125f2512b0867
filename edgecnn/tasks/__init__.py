"""What a network's outputs mean: one file per task, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.artifact import TensorSpec
from edgecnn.parity import Output
from edgecnn.registry import Registry
from edgecnn.tasks.classification import Classification
from edgecnn.tasks.task import Task
from edgecnn.tasks.tensors import Tensors

TASKS: Registry[Task] = Registry("task")
#: What any network can be asked; a network of which nothing else is known is of the first task that suits it.
TENSORS = Tensors()
for _task in (Classification(), TENSORS):
    TASKS.add(_task.name, _task)


def told_by(outputs: Sequence[TensorSpec]) -> Task:
    """Return the task of a network of which nothing but its outputs is known."""
    return next(task for task in TASKS if task.suits(outputs))


def task_of(name: str | None, outputs: Sequence[TensorSpec]) -> Task:
    """Return the task that a manifest names, else what the outputs tell; raises UnknownNameError."""
    return told_by(outputs) if name is None else TASKS.get(name)


def task_of_values(outputs: Sequence[Output]) -> Task:
    """Return the task of a network by what it gave, (images, ...) each."""
    return told_by([item.spec for item in outputs])


__all__ = ["TASKS", "TENSORS", "Task", "task_of", "task_of_values", "told_by"]
