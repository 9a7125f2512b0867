"""Load a function of the user's that returns a network, and call it.

Whoever calls this has seen to it that the user named the function.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from edgecnn import files
from edgecnn.errors import CodeError, InvalidValueError
from edgecnn.registry import suggest
from edgecnn.zoo import code_errors
from edgecnn.zoo.reference import CLASSES, Reference

#: What functions call the number of classes, of input channels, and the width multiplier.
PASSED = {
    "num_classes": CLASSES,
    "in_channels": ("in_channels", "channels", "in_chans", "n_channels"),
    "alpha": ("alpha",),
}
#: How a request calls what such a function cannot be told.
_OPTIONS = {"num_classes": "classes", "in_channels": "channels", "alpha": "alpha"}


@dataclass(frozen=True)
class Code:
    """A function that was loaded. It takes what `arguments` finds to fit."""

    reference: Reference
    function: Any
    #: Of its file; None where it has none.
    sha256: str | None

    def takes(self, what: str) -> str | None:
        """Return the parameter that is a row of `PASSED`; None if the function has none."""
        return next((name for name in PASSED[what] if name in self._named()), None)

    def arguments(self, given: Mapping[str, Any], **wanted: Any) -> dict[str, Any]:
        """Return what the function is called with: `given` by the user, and those of `wanted` that it takes.

        Raises InvalidValueError for an argument that it does not take, and for one that it lacks.
        """
        parameters = self._named()
        for key in given:
            if key not in parameters and not self._takes_any():
                hint = suggest(key, parameters) if parameters else "it takes none"
                raise InvalidValueError(f"{self.reference.name} takes no argument {key!r}", hint=hint)
        found = dict(given)
        for what, value in wanted.items():
            name = self.takes(what)
            if value is None or name in given:
                continue
            if name is not None:
                found[name] = value
            elif what != "num_classes":  # whose number the outputs show
                raise InvalidValueError(
                    f"{self.reference.name} does not take {_OPTIONS[what]}: none of its parameters is called"
                    f" {' or '.join(PASSED[what])}",
                    hint=f"leave out `{_OPTIONS[what]}`",
                )
        if lacks := [name for name in self._required() if name not in found]:
            raise InvalidValueError(
                f"{self.reference.name} needs {' and '.join(lacks)}", hint=f"`arg` {lacks[0]}=VALUE"
            )
        return found

    def build(self, arguments: Mapping[str, Any], seed: int) -> nn.Module:
        """Return a new network, its own draws made by `seed`. Raises CodeError."""
        with torch.random.fork_rng(devices=[]), importable(self.reference), code_errors.told():
            torch.manual_seed(seed)
            if isinstance(self.function, nn.Module):
                network: Any = copy.deepcopy(self.function)
            else:
                network = self.function(**arguments)
        if not isinstance(network, nn.Module):
            raise CodeError(
                f"{self.reference.name} gives {_article(type(network).__name__)}, not a network",
                hint="it returns a torch.nn.Module",
            )
        return network.eval()

    def _parameters(self) -> list[inspect.Parameter]:
        if isinstance(self.function, nn.Module):
            return []
        try:
            return list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError) as error:
            raise CodeError(f"{self.reference.name} does not say what it takes") from error

    def _named(self) -> list[str]:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [item.name for item in self._parameters() if item.kind in kinds]

    def _required(self) -> list[str]:
        named = self._named()
        return [p.name for p in self._parameters() if p.name in named and p.default is p.empty]

    def _takes_any(self) -> bool:
        return any(item.kind is item.VAR_KEYWORD for item in self._parameters())


def load(reference: Reference) -> Code:
    """Run the code that a reference names, and return its function.

    Raises CodeError for an error in it, InvalidValueError if there is no such module or function.
    """
    reference.demand()
    with importable(reference), code_errors.told():
        module = _run_file(reference) if reference.is_file else _import(reference)
    found: Any = module
    for part in reference.function.split("."):
        if not hasattr(found, part):
            names = [name for name, value in vars(found).items() if _offers(name, value, module)]
            raise InvalidValueError(
                f"{reference.place} has no {reference.function}",
                hint=suggest(part, names) if names else "it defines no function",
            )
        found = getattr(found, part)
    if not callable(found):
        raise InvalidValueError(
            f"{reference.name} is {_article(type(found).__name__)}",
            hint="a function or a class that returns a torch.nn.Module",
        )
    file = getattr(module, "__file__", None)
    return Code(reference, found, files.sha256(file) if file else None)


def _offers(name: str, value: Any, module: ModuleType) -> bool:
    return callable(value) and name[0] != "_" and getattr(value, "__module__", None) == module.__name__


def _run_file(reference: Reference) -> ModuleType:
    """Return a file as a module under a name of its own, which its classes find themselves by."""
    path = Path(reference.place).resolve()
    name = f"_edgecnn_{path.stem}_{files.sha256(path)[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(reference: Reference) -> ModuleType:
    try:
        return importlib.import_module(reference.place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{reference.place}.".startswith(f"{missing}."):
            raise
        file = Path(*reference.place.split(".")).with_suffix(".py")
        hint = f"as a file: {file}:{reference.function}" if file.is_file() else None
        raise InvalidValueError(
            f"there is no module {missing}",
            hint=hint or "a package is installed, or lies in the current folder; a file is FILE.py:FUNCTION",
        ) from error


@contextlib.contextmanager
def importable(reference: Reference) -> Iterator[None]:
    """Let the modules beside a file, or in the current folder, be imported; what they print is no result.

    A file finds its own neighbours, whatever another file's of the same name were.
    """
    folder = str(Path(reference.place).resolve().parent) if reference.is_file else os.getcwd()
    others = _take_out(_neighbours(folder)) if reference.is_file else {}
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.remove(folder)
        sys.modules.update(others)


def _neighbours(folder: str) -> set[str]:
    """Return what can be imported by name from a folder, less this package."""
    with os.scandir(folder) as entries:
        names = {entry.name.removesuffix(".py") for entry in entries}
    return {name for name in names if name.isidentifier()} - {"edgecnn", "__main__"}


def _take_out(names: set[str]) -> dict[str, ModuleType]:
    """Take modules of these names out of those that are known, but for installed ones; return them."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in names and file and not code_errors.is_installed(file):
            found[name] = sys.modules.pop(name)
    return found


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
