"""What a recipe may say. Everything is checked before the first step begins."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgecnn import core_yaml
from edgecnn.errors import EdgecnnError, RecipeError
from edgecnn.recipe import step_options
from edgecnn.recipe.step_kinds import KINDS, Kind
from edgecnn.registry import suggest

_TOP = ("name", "about", "variables", "for_each", "steps")
#: Of every step, beside the options of its kind.
_OF_STEP = ("id", "seeds")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_FOLDER = re.compile(r"[\w-][\w .-]{0,99}")
_MAX_BYTES, _MAX_STEPS, _MAX_SEEDS, _MAX_NAME = 1 << 20, 1000, 100, 150
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_REFERENCE = re.compile(r"@([A-Za-z][A-Za-z0-9_.-]*)")
#: Options that take a file of an earlier step, and how its name ends; None for a model of any kind.
_TAKES = {"network": ".safetensors", "model": None, "models": None, "reference": None}
_VARIABLE = re.compile(r"\$([A-Za-z][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class PlannedStep:
    """One step with all its options; values that are "@ID" stand for the file that step ID makes."""

    id: str
    kind: Kind
    options: Mapping[str, Any]
    #: Seeds that it is repeated with; the first one's result goes on.
    seeds: tuple[int, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the steps whose results it takes."""
        return _needs(self.options)


@dataclass(frozen=True)
class Plan:
    """A recipe that can be run."""

    name: str
    about: str
    steps: tuple[PlannedStep, ...]


def read(path: str | Path, changes: Sequence[str] = ()) -> Plan:
    """Read a recipe and apply changes such as "teacher.epochs=5" or, of a variable, "data=photos".

    Raises RecipeError for what is not there, cannot be read, or says what no recipe can say.
    """
    try:
        values = core_yaml.load(_text(Path(path)))
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}", hint="recipes/ holds some") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no YAML file: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(values, dict) or not isinstance(values.get("steps"), list) or not values["steps"]:
        raise RecipeError(f"{path} is no recipe: it has no list of steps", hint="steps: [{train: {...}}]")
    _known(values, _TOP, "the recipe")
    name = _name(values.get("name"), Path(path).stem)
    for key in ("variables", "for_each"):
        if not isinstance(values.get(key) or {}, dict):
            raise RecipeError(
                f"the {key} of {path} are no mapping: {values[key]}", hint=f"{key}: {{NAME: VALUE}}"
            )
    for given in values["steps"]:
        _check_step(given)
    for change in changes:
        _change(values, change)
    variables = values.get("variables") or {}
    unset = [str(name) for name, value in variables.items() if value is None]
    if unset:
        raise RecipeError(f"{path} needs a value for {', '.join(unset)}", hint=f"--set {unset[0]}=VALUE")
    steps: list[PlannedStep] = []
    for row in _rows(values.get("for_each") or {}, len(values["steps"])):
        steps += _steps(values["steps"], {**variables, **row}, _suffix(row))
    if not steps:
        raise RecipeError(
            f"{path} does nothing: for_each has no values", hint="for_each: {NAME: [VALUE, ...]}"
        )
    _check_references(steps)
    return Plan(name, str(values.get("about") or ""), tuple(steps))


def _text(path: Path) -> str:
    """Return a recipe's text; raises OSError, UnicodeDecodeError or RecipeError."""
    if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_BYTES):
        raise RecipeError(f"{path} is no recipe", hint=f"a file of at most {_MAX_BYTES >> 10} KiB")
    return path.read_text(encoding="utf-8")


def _name(given: Any, stem: str) -> str:
    """Return the name of a recipe, and of the folder of its runs."""
    name = stem if given is None else given
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not _FOLDER.fullmatch(name):
        raise RecipeError(
            f"a recipe cannot be called {str(name)[:40]!r}",
            hint="its name is that of a folder: letters, digits, spaces, ., - and _, no dot first",
        )
    return name


def _rows(for_each: Mapping[str, Any], steps: int) -> list[dict[str, Any]]:
    """Return every combination of the values that the steps are repeated for."""
    lists = [value if isinstance(value, list) else [value] for value in for_each.values()]
    count = math.prod(map(len, lists)) * steps
    if count > _MAX_STEPS:
        raise RecipeError(
            f"for_each makes {count} steps of {steps}", hint=f"at most {_MAX_STEPS}: several recipes"
        )
    for key, values in zip(for_each, lists, strict=True):
        if not isinstance(key, str) or any(isinstance(value, (list, dict)) for value in values):
            raise RecipeError(
                f"for_each cannot repeat {key} for {str(values)[:60]}", hint="for_each: {NAME: [VALUE, ...]}"
            )
    return [dict(zip(for_each, row, strict=True)) for row in itertools.product(*lists)]


def _suffix(row: Mapping[str, Any]) -> str:
    """Return what tells the steps of a row from those of the others; they name files."""
    return "".join(f"-{name}-{_NO_NAME.sub('_', str(value))}" for name, value in row.items())


def _steps(given: Sequence[Any], variables: Mapping[str, Any], suffix: str) -> list[PlannedStep]:
    ids = {_id(step) for step in given}
    return [_step(step, variables, suffix, ids) for step in given]


def _id(step: Mapping[str, Any]) -> str:
    return str(step.get("id") or next((key for key in step if key not in _OF_STEP), ""))


def _check_step(given: Any) -> None:
    """Raise RecipeError unless this is a step: one kind that is known, with a mapping of options."""
    kinds = [key for key in given if key not in _OF_STEP] if isinstance(given, dict) else []
    if len(kinds) != 1:
        raise RecipeError(
            f"a step has one of {', '.join(KINDS)}: {given}", hint="- train: {network: mobilenet}"
        )
    name = kinds[0]
    if name not in KINDS:
        raise RecipeError(f"unknown step {name!r}", hint=suggest(str(name), list(KINDS)))
    if not isinstance(given[name] or {}, dict):
        raise RecipeError(
            f"the options of step {_id(given)} are no mapping: {given[name]}", hint=f"{name}: {{key: value}}"
        )


def _step(given: Mapping[str, Any], variables: Mapping[str, Any], suffix: str, ids: set[str]) -> PlannedStep:
    name = next(key for key in given if key not in _OF_STEP)
    kind, here, options = KINDS[name], _id(given), given[name] or {}
    if not _NAME.fullmatch(here) or len(here + suffix) > _MAX_NAME:
        raise RecipeError(
            f"{(here + suffix)[:60]!r} cannot name a step",
            hint=f"at most {_MAX_NAME} letters, digits, - and _, with what for_each adds",
        )
    _known(options, tuple(kind.options), f"step {here} ({name})")
    missing = [key for key in kind.required if options.get(key) is None]
    if missing:
        raise RecipeError(f"step {here} ({name}) lacks {', '.join(missing)}", hint=f"{missing[0]}: VALUE")
    filled = {key: _fill(value, variables, here, suffix, ids) for key, value in options.items()}
    seeds = given.get("seeds", [])
    if (
        not isinstance(seeds, list)
        or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
        or not len(set(seeds)) == len(seeds) <= _MAX_SEEDS
    ):
        raise RecipeError(
            f"the seeds of step {here} are no list of numbers: {str(seeds)[:60]}",
            hint=f"seeds: [0, 1, 2], at most {_MAX_SEEDS}, each once",
        )
    if seeds and ("seed" not in kind.options or "seed" in options):
        raise RecipeError(f"step {here} ({name}) takes no seeds", hint="leave seeds or seed out")
    for key, value in filled.items():
        try:
            filled[key] = step_options.read(kind.options[key], value)
        except ValueError as error:
            raise RecipeError(
                f"{key} of step {here} ({name}) is {value!r}", hint=f"it takes {kind.options[key].what}"
            ) from error
    complete = {**kind.defaults(), **filled}
    try:
        kind.check(complete)
    except EdgecnnError as error:
        raise RecipeError(f"step {here} ({name}): {_plain(error)}", hint=_plain(error.hint)) from error
    return PlannedStep(here + suffix, kind, complete, tuple(seeds))


def _plain(text: object) -> str | None:
    """Return what the library says: a recipe's keys are the names of the fields."""
    return None if text is None else str(text).replace("`", "")


def _fill(value: Any, variables: Mapping[str, Any], step: str, suffix: str, ids: set[str]) -> Any:
    """Put variables in the place of "$NAME", and complete the names of steps that are repeated."""
    if isinstance(value, list):
        return [_fill(item, variables, step, suffix, ids) for item in value]
    if not isinstance(value, str):
        return value
    if match := _VARIABLE.fullmatch(value):
        if match[1] not in variables:
            known = suggest(match[1], list(map(str, variables))) if variables else "variables: {NAME: VALUE}"
            raise RecipeError(f"step {step} uses ${match[1]}, which is no variable", hint=known)
        return variables[match[1]]
    if match := _REFERENCE.fullmatch(value):
        if match[1] not in ids:
            raise RecipeError(
                f"step {step} takes {value}, which no step makes", hint=suggest(match[1], sorted(ids))
            )
        return value + suffix
    return value


def _check_references(steps: Sequence[PlannedStep]) -> None:
    """Raise RecipeError for an input that is made later or is of the wrong kind, and for two equal names."""
    made: dict[str, str | None] = {}
    for step in steps:
        if step.id in made:
            raise RecipeError(f"two steps are called {step.id}", hint="give one an id of its own")
        for need in step.needs:
            if need not in made:
                raise RecipeError(f"step {step.id} takes @{need}, which comes later", hint="order the steps")
        for key, suffix in _TAKES.items():
            for need in _needs({key: step.options.get(key)}):
                model = made[need] not in (None, ".safetensors")
                if made[need] != suffix if suffix else not model:
                    raise RecipeError(
                        f"{key} of step {step.id} is @{need}, which makes no {suffix or 'model'} file",
                        hint="networks come from train, distill and prune, models from export, quantize,"
                        " compile and qat",
                    )
        made[step.id] = step.kind.suffix_of(step.options)


def _change(values: dict[str, Any], change: str) -> None:
    """Apply one change of the form KEY=VALUE, where KEY is a variable or STEP.OPTION."""
    key, equals, text = change.partition("=")
    if not equals:
        raise RecipeError(f"--set {change} sets nothing", hint="--set STEP.OPTION=VALUE or VARIABLE=VALUE")
    try:
        value = core_yaml.load(text)
    except yaml.YAMLError:
        value = text
    step, dot, option = key.rpartition(".")
    if not dot:
        variables = values.setdefault("variables", {}) or {}
        repeated = values.get("for_each") or {}
        if key in repeated:
            repeated[key] = value if isinstance(value, list) else [value]
        elif key in variables:
            variables[key] = value
        else:
            named = map(str, (*variables, *repeated))
            names = [*named, *(f"{_id(item)}.OPTION" for item in values["steps"])]
            raise RecipeError(f"the recipe has no variable {key}", hint=suggest(key, names))
        return
    ids = [_id(item) for item in values["steps"]]
    if step not in ids:
        raise RecipeError(f"the recipe has no step {step}", hint=suggest(step, ids))
    target = values["steps"][ids.index(step)]
    if option in _OF_STEP:
        target[option] = value
        return
    kind = next(key for key in target if key not in _OF_STEP)
    target[kind] = {**(target[kind] or {}), option: value}


def _known(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise RecipeError(f"{where} cannot say {key!r}", hint=suggest(str(key), list(known)))


def _needs(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the steps that options refer to."""
    found = [match for value in _strings(options) if (match := _REFERENCE.fullmatch(value))]
    return tuple(match[1] for match in found)


def _strings(values: Mapping[str, Any]) -> list[str]:
    flat = itertools.chain.from_iterable(v if isinstance(v, list) else [v] for v in values.values())
    return [value for value in flat if isinstance(value, str)]
