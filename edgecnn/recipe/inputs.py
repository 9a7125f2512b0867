"""The files and data sets that a recipe takes from outside: they are looked for before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.data.open_dataset import check_name
from edgecnn.errors import EdgecnnError, RecipeError
from edgecnn.recipe.schema import Plan

#: Options that name a file, whatever they say.
_FILES = ("model", "models", "reference")
#: Options that name a file if they end so.
_ENDINGS = (".safetensors", ".onnx", ".pth", ".pt", ".bin")
_MAYBE_FILES = ("network", "teacher", "weights")
_FOLDERS = ("calib", "unlabeled", "check")
_RELATIVE = "paths are relative to where the command is run"


def check_inputs(plan: Plan) -> None:
    """Raise RecipeError for a file, a folder or a data set that is not there."""
    for step in plan.steps:
        for key, value in _from_outside(step.options):
            if problem := _problem(key, value):
                raise RecipeError(f"{key} of step {step.id}: {problem[0]}", hint=problem[1])


def _from_outside(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.startswith("@"):
                yield key, text


def _problem(key: str, value: str) -> tuple[str, str | None] | None:
    """Return what is wrong with one value of an option, and a hint."""
    path = Path(value)
    if key in ("data", "train"):
        try:
            check_name(value)
        except EdgecnnError as error:
            return str(error), error.hint
    if key in _FOLDERS and not path.is_dir():
        return f"there is no folder {value}", _RELATIVE
    names_file = key in _FILES or (key in _MAYBE_FILES and value.endswith(_ENDINGS))
    if names_file and (wrong := files.unlike_file(value)):
        return f"{value} is {wrong}", f'{_RELATIVE}; "@ID" is a step\'s'
    return None
