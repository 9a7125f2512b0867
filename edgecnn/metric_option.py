"""The option that names a metric of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: A metric of the user's: from the output, or of several a dictionary by name, and the labels to a number.
UserFunction = Callable[[Any, Any], Any]

#: Help of the option.
METRIC = (
    "Metric of your own, package.module:function or file.py:function: gets outputs and labels, gives a"
    " number; higher is better."
)
