"""Metrics: a number for outputs and labels, of which more is better; a task's own, or the user's."""

from __future__ import annotations

import abc
import importlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgecnnError, InvalidValueError
from edgecnn.metric_option import UserFunction
from edgecnn.parity import Output
from edgecnn.tasks.view import View


@dataclass(frozen=True)
class Curve:
    """A line of a plot: what it is of, and its points."""

    name: str
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Details:
    """What labelled images say of a network besides the one figure."""

    #: Name and value of figures, in points of 100; None where nothing was there to measure.
    figures: dict[str, float | None]
    #: For each class: its name and its figures, by name.
    classes: list[dict[str, Any]]
    #: Which of a class' figures counts most.
    key: str
    #: What `curves` have on their axes; empty without curves.
    axes: tuple[str, str] = ("", "")
    curves: tuple[Curve, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {"figures": self.figures, "per_class": self.classes}


class Metric(abc.ABC):
    """What labelled images measure of a network; higher is better.

    What it needs of a batch of outputs, `part`, is little: outputs of many images are not kept.
    """

    #: As it is called, and what a difference of it is counted in.
    name: str
    unit: str = ""
    #: Whether it is measured in the picture, so that each image needs a view.
    needs_views: bool = False

    @abc.abstractmethod
    def part(self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None) -> Any:
        """Return what is needed of outputs, (images, ...) each, with a label and a view for each image.

        `views` are None where the inputs are no pictures.
        """

    @abc.abstractmethod
    def figure(self, parts: Sequence[Any]) -> float:
        """Return the figure of all parts."""

    def details(self, parts: Sequence[Any], names: Sequence[str]) -> Details | None:
        """Return what else the parts say; `names` are those of the classes, as far as they are known."""
        return None

    def __call__(self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None = None) -> float:
        """Return the figure of images that are one part."""
        return self.figure([self.part(outputs, labels, views)])


def users(metric: str | UserFunction) -> Metric:
    """Return a metric of the user's: a function, or where one stands, "package.module:name", "file.py:name".

    It is called with the network's output, (images, ...), or of several outputs a dictionary by name, and
    the labels. Raises InvalidValueError where there is no such function, and for what it does wrong.
    """
    function = metric if callable(metric) else _found(metric)
    return _Users(metric if isinstance(metric, str) else getattr(metric, "__qualname__", "metric"), function)


class _Users(Metric):
    """A function, called once with all outputs and labels."""

    def __init__(self, name: str, function: UserFunction) -> None:
        self.name, self._function = name, function

    def part(
        self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None
    ) -> tuple[dict[str, npt.NDArray[Any]], Any]:
        """Return outputs by name, and labels."""
        return {item.name: item.values for item in outputs}, labels

    def figure(self, parts: Sequence[Any]) -> float:
        """Return what the function gives; raises InvalidValueError."""
        outputs = [values for values, _ in parts]
        joined = {name: np.concatenate([item[name] for item in outputs]) for name in outputs[0]}
        given = next(iter(joined.values())) if len(joined) == 1 else joined
        return _number(self._function, given, joined_labels([labels for _, labels in parts]), self.name)


def joined_labels(parts: Sequence[Any]) -> Any:
    """Return labels of several batches as those of one: an array where they are arrays, else a list."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return [label for part in parts for label in part]


def _number(function: UserFunction, outputs: Any, labels: Any, name: str) -> float:
    try:
        found = function(outputs, labels)
    except EdgecnnError:
        raise
    except Exception as error:  # it is the user's code, and may do anything
        raise InvalidValueError(
            f"the metric {name} fails: {type(error).__name__}: {error}",
            hint="it gets the output (of several: a dictionary by name) and the labels; --debug shows where",
        ) from error
    try:
        number = float(found)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"the metric {name} gives {found!r:.60}", hint="a number is expected; higher is better"
        ) from error
    if not math.isfinite(number):
        raise InvalidValueError(f"the metric {name} gives {number}", hint="a finite number is expected")
    return number


def _found(text: str) -> UserFunction:
    where, _, name = text.rpartition(":")
    if not where or not name.isidentifier():
        raise InvalidValueError(
            f"`metric` {text!r} names no function", hint="package.module:function, or file.py:function"
        )
    try:
        module = _module_of_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # as above: importing it runs it
        raise InvalidValueError(
            f"{where} cannot be imported: {type(error).__name__}: {error}",
            hint="package.module:function of an installed package, or file.py:function",
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidValueError(f"{where} has no function {name!r}", hint="package.module:function")
    chosen: UserFunction = function
    return chosen


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"edgecnn_metric_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look a class's module up there
    spec.loader.exec_module(module)
    return module
