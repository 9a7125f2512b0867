"""Run a plan in a folder. What is done already, with the same options and inputs, is not done again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from edgecnn import __version__, files
from edgecnn.errors import OutputError, RecipeError
from edgecnn.progress import Progress
from edgecnn.recipe import step_kinds, summary
from edgecnn.recipe.inputs import check_inputs
from edgecnn.recipe.outcome import Outcome
from edgecnn.recipe.schema import Plan, PlannedStep
from edgecnn.record import Record

#: What lies in the folder of a run, beside the files of the steps.
RECORD, SUMMARY = "run.json", "summary.md"


class Listener(step_kinds.Listener, Protocol):
    """Who is told how a run goes."""

    def begin(self, step: str, number: int, total: int, *, done_before: bool) -> None:
        """Be told that a step begins, or that it was done before."""


@dataclass(frozen=True)
class _Telling:
    """A listener of two functions."""

    progress: Progress
    reporting: Callable[[Any], None]

    def begin(self, step: str, number: int, total: int, *, done_before: bool) -> None:
        self.progress(f"step {number} of {total}, {step}{': done before' if done_before else ''}")

    def say(self, text: str) -> None:
        self.progress(text)

    def report(self, report: Any) -> None:
        self.reporting(report)


def telling(progress: Progress, report: Callable[[Any], None]) -> Listener:
    """Return a listener that tells `progress` each step as it begins, and `report` where training stands."""
    return _Telling(progress, report)


@dataclass(frozen=True)
class Ran(Record):
    """A run that is complete."""

    folder: Path
    outcomes: list[Outcome]
    seconds: float

    @property
    def met(self) -> bool:
        """Whether every budget was met."""
        return all(outcome.met is not False for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        steps = [asdict(outcome) for outcome in self.outcomes]
        return {"path": str(self.folder), "steps": steps, "met": self.met, "seconds": round(self.seconds, 3)}


def run(plan: Plan, folder: Path, listener: Listener) -> Ran:
    """Run every step of a plan; files, record and summary lie in `folder`.

    After each step the record is written, so a run that was killed goes on after the last that was done,
    and inside a training that was cut off. Raises what the steps raise.
    """
    start = time.perf_counter()
    check_inputs(plan)
    _make(folder)
    known = _read_record(folder, plan)
    outcomes: list[Outcome] = []
    made: dict[str, Outcome] = {}
    for number, step in enumerate(plan.steps, start=1):
        fingerprint = _fingerprint(step, made)
        outcome = known.get(step.id)
        done_before = outcome is not None and outcome.fingerprint == fingerprint and _intact(folder, outcome)
        listener.begin(step.id, number, len(plan.steps), done_before=done_before)
        if outcome is None or not done_before:
            outcome = _do(step, folder, made, fingerprint, listener)
        made[step.id] = outcome
        outcomes.append(outcome)
        _write_record(folder, plan, [*outcomes, *_later(known, made)])
    files.write_atomic(folder / SUMMARY, summary.markdown(plan, outcomes).encode())
    return Ran(folder, outcomes, time.perf_counter() - start)


def _do(
    step: PlannedStep, folder: Path, made: Mapping[str, Outcome], fingerprint: str, listener: Listener
) -> Outcome:
    """Do one step, for each of its seeds."""
    start = time.perf_counter()
    options = {key: _resolve(value, folder, made) for key, value in step.options.items()}
    suffix = step.kind.suffix_of(step.options)
    paths: list[Path] = []
    results: list[step_kinds.Result] = []
    for seed in step.seeds or (None,):
        name = step.id if seed is None or seed == step.seeds[0] else f"{step.id}-seed-{seed}"
        path = folder / f"{name}{suffix or ''}"
        seeded = options if seed is None else {**options, "seed": seed}
        if seed is not None:
            listener.say(f"seed {seed}")
        results.append(step.kind.run(seeded, path, listener))
        if suffix is not None:
            paths.append(results[-1].path or path)
    return Outcome(
        step.id,
        step.kind.name,
        dict(step.options),
        fingerprint,
        [path.name for path in paths],
        [files.sha256(path) for path in paths],
        [dict(result.metrics) for result in results],
        round(time.perf_counter() - start, 3),
        list(dict.fromkeys(note for result in results for note in result.notes)),
        None if all(item.met is None for item in results) else all(item.met is not False for item in results),
    )


def _resolve(value: Any, folder: Path, made: Mapping[str, Outcome]) -> Any:
    """Return an option with the files of earlier steps in the place of their names."""
    if isinstance(value, list):
        return [_resolve(item, folder, made) for item in value]
    if isinstance(value, str) and value.startswith("@"):
        return str(folder / made[value[1:]].paths[0])
    return value


#: Options that may name a file, or a function in one.
_MAY_BE_FILES = ("network", "code", "weights", "teacher", "teacher_code", "model", "reference")


def _fingerprint(step: PlannedStep, made: Mapping[str, Outcome]) -> str:
    """Return a hash of the options of a step, its seeds, and the files that it takes."""
    inputs = {need: made[need].sha256[0] for need in step.needs}
    given = [str(step.options.get(key)) for key in _MAY_BE_FILES]
    given += [value.rpartition(":")[0] for value in given]  # of FILE.py:FUNCTION
    inputs |= {path: files.sha256(path) for path in given if Path(path).is_file()}
    known = {"kind": step.kind.name, "options": step.options, "seeds": step.seeds, "inputs": inputs}
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def _intact(folder: Path, outcome: Outcome) -> bool:
    """Return whether the files of a step are there as they were made."""
    paths = [folder / name for name in outcome.paths]
    return all(
        path.is_file() and files.sha256(path) == sha256
        for path, sha256 in zip(paths, outcome.sha256, strict=True)
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}", hint="another with -o"
        ) from error
    files.check_writable(folder / RECORD)


def _read_record(folder: Path, plan: Plan) -> dict[str, Outcome]:
    """Return what earlier runs did in this folder."""
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_bytes())
        if record["recipe"] != plan.name:
            raise RecipeError(
                f"{folder} holds a run of {record['recipe']}, not of {plan.name}",
                hint="another folder with -o",
            )
        return {values["id"]: Outcome(**values) for values in record["steps"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path} is damaged", hint="delete it to run everything again") from error


def _write_record(folder: Path, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    record = {
        "recipe": plan.name,
        "about": plan.about,
        "edgecnn": __version__,
        "steps": [asdict(outcome) for outcome in outcomes],
    }
    files.write_atomic(folder / RECORD, json.dumps(record, indent=1, default=str).encode())


def _later(known: Mapping[str, Outcome], made: Mapping[str, Outcome]) -> list[Outcome]:
    """Return what was done before of the steps that are still to come."""
    return [outcome for name, outcome in known.items() if name not in made]
