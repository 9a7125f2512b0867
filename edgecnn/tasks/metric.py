"""Metrics: a number for outputs and labels, of which more is better; a task's own, or the user's."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgecnnError, InvalidValueError
from edgecnn.metric_option import UserFunction
from edgecnn.parity import Output


@dataclass(frozen=True)
class Metric:
    """What labelled images measure of a network; higher is better."""

    name: str
    #: From outputs, (images, ...) each, and labels to a number.
    function: Callable[[Sequence[Output], Any], float]
    #: What a difference of it is counted in.
    unit: str = ""

    def __call__(self, outputs: Sequence[Output], labels: Any) -> float:
        """Return the figure."""
        return self.function(outputs, labels)


def users(metric: str | UserFunction) -> Metric:
    """Return a metric of the user's: a function, or where one stands, "package.module:name", "file.py:name".

    It is called with the network's output, (images, ...), or of several outputs a dictionary by name, and
    the labels. Raises InvalidValueError where there is no such function, and for what it does wrong.
    """
    function = metric if callable(metric) else _found(metric)
    name = metric if isinstance(metric, str) else getattr(metric, "__qualname__", "metric")

    def figure(outputs: Sequence[Output], labels: Any) -> float:
        values = {item.name: item.values for item in outputs}
        return _number(function, next(iter(values.values())) if len(values) == 1 else values, labels, name)

    return Metric(name, figure)


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
