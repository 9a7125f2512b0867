"""A network by the code that builds it: FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME.

Nothing that a reference names is imported here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.errors import InvalidValueError

#: Packages that build networks by their names.
LIBRARIES = ("timm", "torchvision")
#: What functions call the number of classes.
CLASSES = ("num_classes", "classes", "n_classes", "nclasses")
_FORMS = "FILE.py:FUNCTION or package.module:FUNCTION"
_SCALARS = (str, int, float, bool, type(None))
#: More arguments than these are a damaged file.
_MOST = 100


@dataclass(frozen=True)
class Reference:
    """Where a network is built: `place` is FILE.py, a module's dotted name, or one of `LIBRARIES`."""

    place: str
    #: Function or class in it that returns a torch.nn.Module; of a library the name of the network.
    function: str

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """Return the reference that a text is; None for one without a colon.

        Raises InvalidValueError for what names no function.
        """
        place, colon, function = text.rpartition(":")
        if not colon:
            if text.endswith(".py"):
                raise InvalidValueError(f"{text} does not say which function", hint=_which(Path(text)))
            return None
        found = cls(place, function)
        if found.library:
            if not re.fullmatch(r"[\w.-]+", function):
                raise InvalidValueError(
                    f"{text!r} names no network of {place}", hint=f"as in {place}:resnet18"
                )
        elif not _dotted(function) or not (found.is_file or _dotted(place)):
            raise InvalidValueError(f"{text!r} names no function", hint=_FORMS)
        return found

    @property
    def library(self) -> str | None:
        """The package that knows the network by its name; None for code of the user's own."""
        return self.place if self.place in LIBRARIES else None

    @property
    def is_file(self) -> bool:
        """Whether the code is a file that is named by its path."""
        return self.place.endswith(".py")

    @property
    def name(self) -> str:
        """What lineages call it: without the folder."""
        return f"{Path(self.place).name if self.is_file else self.place}:{self.function}"

    def demand(self) -> None:
        """Raise InvalidValueError if the file is none, or a folder."""
        if self.is_file and (wrong := files.unlike_file(self.place, "a Python file")):
            raise InvalidValueError(f"{self.place} is {wrong}", hint=_FORMS)


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _which(path: Path) -> str:
    """Return a hint on the functions and classes of a file, which is read and not run."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return _FORMS
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")]
    return " or ".join(f"{path}:{name}" for name in names[:5]) or f"{path} defines none"


def read_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that KEY=VALUE texts give; a value is read as YAML reads a scalar.

    Raises InvalidValueError for what is none, or an argument that is given twice.
    """
    found: dict[str, Any] = {}
    if texts:  # few commands have arguments, and the package takes its time
        import yaml

        from edgecnn import core_yaml
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise InvalidValueError(f"`arg` {text!r} is no argument", hint="KEY=VALUE, as in width=8")
        if key in found:
            raise InvalidValueError(f"`arg` {key} is given twice", hint="leave one out")
        try:
            found[key] = core_yaml.load(value)
        except yaml.YAMLError as error:
            raise InvalidValueError(
                f"`arg` {key} cannot be read: {value[:60]!r}", hint="put a text into quotes"
            ) from error
        if not is_argument(found[key]):
            raise InvalidValueError(
                f"`arg` {key} is {value[:60]!r}",
                hint="a number, a text, true, false, or a list of them",
            )
    return found


def is_argument(value: Any) -> bool:
    """Return whether a value is one that can be given and recorded: a scalar, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, _SCALARS) for item in items)


def are_arguments(values: Any) -> bool:
    """Return whether values, of a file, are arguments."""
    return (
        isinstance(values, Mapping)
        and len(values) <= _MOST
        and all(isinstance(key, str) and key.isidentifier() for key in values)
        and all(map(is_argument, values.values()))
    )
