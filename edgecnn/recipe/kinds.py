"""What a step of a recipe can be: a table. Each row calls the function that the command of its name calls."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecnn.artifact import Manifest
from edgecnn.compress.train.options import TrainOptions
from edgecnn.errors import InvalidValueError
from edgecnn.export.request import ExportRequest
from edgecnn.recipe import requests
from edgecnn.recipe.requests import Options
from edgecnn.targets import target
from edgecnn.zoo.spec import NetworkSpec

if TYPE_CHECKING:
    from edgecnn.compress.train.fit import Report


class Listener(Protocol):
    """Who is told how a step goes."""

    def say(self, text: str) -> None:
        """Be told what is being done."""

    def report(self, report: Report) -> None:
        """Be told where a training run stands."""


@dataclass(frozen=True)
class Result:
    """What a step measured, under the keys of every edgecnn result."""

    metrics: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    #: Whether a budget was met; None if there was none.
    met: bool | None = None


@dataclass(frozen=True)
class Option:
    """One option of a step: bool, int, float, str, or list for several texts."""

    type: type
    default: Any = None
    #: Whether null is a value although it is not the default.
    optional: bool = False

    @property
    def what(self) -> str:
        """What the value should be, for people."""
        known = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        return known.get(self.type, "a list of texts")

    def read(self, value: Any) -> Any:
        """Return a value that a recipe gives; raises ValueError if it is of another type."""
        if value is None and (self.default is None or self.optional):
            return None
        if self.type is str and type(value) is int:  # a folder called 2024, a goal of 1000000
            return str(value)
        if self.type is float and type(value) is int and abs(value) < 2**1000:
            return float(value)
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ValueError(value)
        if type(value) is not self.type or (type(value) is float and not math.isfinite(value)):
            raise ValueError(value)
        return value


@dataclass(frozen=True)
class Kind:
    """One kind of step."""

    name: str
    options: Mapping[str, Option]
    required: tuple[str, ...]
    run: Callable[[Options, Path, Listener], Result]
    #: Makes the request of its command, which refuses values that cannot work.
    request: Callable[[Options, Path], object]
    #: What the name of the file that it makes ends with; None if it makes none.
    suffix: str | None = None

    def defaults(self) -> dict[str, Any]:
        """Return the options that need not be given."""
        return {key: option.default for key, option in self.options.items() if key not in self.required}

    def check(self, options: Options) -> None:
        """Raise what the step would raise for values that cannot work, as far as they are known yet."""
        if options.get("target"):
            target(options["target"])
        self.request(options, Path(f"step{self.suffix_of(options) or ''}"))

    def suffix_of(self, options: Options) -> str | None:
        """Return what the name of the file of a step ends with."""
        return ".onnx" if options.get("qat") else self.suffix


_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "Path": str}


def _fields(kind: type, without: tuple[str, ...] = ()) -> dict[str, Option]:
    """Return the fields of a dataclass as options; those without a default have None."""
    return {
        requests.CALLED.get(item.name, item.name): Option(
            _TYPES[str(item.type).partition(" ")[0]],
            None if item.default is dataclasses.MISSING else item.default,
            "None" in str(item.type),
        )
        for item in dataclasses.fields(kind)
        if item.name not in without
    }


_NETWORK = _fields(NetworkSpec)
#: As in the commands: what is trained starts from known weights, and has the classes of the data.
_TRAINED = {**_fields(NetworkSpec, without=("num_classes",)), "weights": Option(str, "auto")}
_TRAINING = {**_fields(TrainOptions), "data": Option(str)}
_QAT = {"qat": Option(bool, False), "target": Option(str, "portable"), "force": Option(bool, False)}
_PRUNED = ("top1", "top1_before", "params", "macs", "bytes")
_KEYS = ("top1", "n", "params", "macs", "bytes", "seconds")


def _train(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.qat.pipeline import QatRequest, train_quantized
    from edgecnn.compress.train.pipeline import train

    request = requests.train(options, output)
    if isinstance(request, QatRequest):
        done = train_quantized(request, listener.report, listener.say)
        keys = (*_KEYS, "precision", "float_top1", "untrained_top1", "simulation_agreement", "parity")
        return Result(_only(done.to_json(), keys), [*done.notes, *_ruin(done.manifest)], done.met)
    trained = train(request, listener.report)
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _distill(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.train.pipeline import train

    trained = train(requests.distill(options, output), listener.report)
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _prune(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.prune.file import prune_file

    done = prune_file(requests.prune(options, output), listener.say, listener.report)
    found = done.to_json()
    metrics = _only(found, (*_PRUNED, "params_before", "macs_before", "latency"))
    return Result(metrics, done.notes, done.met)


def _export(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.export import export

    done = export(requests.export(options, output), listener.say)
    notes = [*done.notes, *_ruin(done.manifest)]
    return Result(_only(done.to_json(), (*_KEYS, "precision", "parity")), notes, done.met)


def _ruin(manifest: Manifest) -> list[str]:
    """Return the note on an int8 file that is below the floor."""
    floor = (manifest.quantization or {}).get("floor")
    return [f"int8 destroys this network: it keeps only {floor['keeps']}"] if floor else []


def _eval(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.data.trained_on import test_images
    from edgecnn.measure.accuracy import evaluate
    from edgecnn.runtime import load

    with load(options["model"], threads=1) as engine:
        engine.demand_class_scores()
        dataset = test_images(engine.manifest, options["data"], engine.classes, listener.say)
        accuracy = evaluate(engine, dataset, progress=listener.say)
        return Result(
            _only(accuracy.to_json(), ("top1", "n", "seconds", "training_images")), list(accuracy.notes)
        )


def _profile(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.measure.latency import profile
    from edgecnn.runtime import load

    engines = [load(path, threads=options["threads"]) for path in options["models"]]
    measured = profile(engines, batch=options["batch"], seconds=options["seconds"], progress=listener.say)
    rows = [
        _only(item.to_json(), ("path", "latency_ms", "throughput_ips", "conditions")) for item in measured
    ]
    return Result(
        {"latency_ms": rows[0]["latency_ms"], "measured": rows}, [n for m in measured for n in m.notes]
    )


def _nothing_more(options: Options, output: Path) -> None:
    """Whatever text the options of a step are, it may be right."""


def _check_profile(options: Options, output: Path) -> None:
    for key, low in (("seconds", 1e-3), ("batch", 1), ("threads", 0)):
        if options[key] is not None and not low <= options[key] <= 1e6:
            raise InvalidValueError(f"{key} of {options[key]:g} cannot be used", hint=f"{low:g} or more")
    if not options["models"]:
        raise InvalidValueError("there is no model to measure", hint='models: ["@export"]')


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}


_TEXT, _NUMBER = Option(str), Option(float)
_DISTILL = {
    "teacher": _TEXT, "teacher_weights": Option(str, "imagenet"), "teacher_mean": _TEXT, "teacher_std": _TEXT,
    "temperature": Option(float, 4.0),
    "weight": Option(float, 0.9), "features": Option(str, "none"), "feature_weight": Option(float, 30.0),
    "unlabeled": _TEXT,
}  # fmt: skip
_GOALS = {key: _NUMBER if key == "ratio" else _TEXT for key in requests.GOALS}
_PRUNING = {
    "importance": _TEXT, "spread": Option(str, "uniform"), "align": Option(int), "rounds": Option(int, 1),
    "measure": Option(bool, True), "seconds": Option(float, 3.0), "threads": Option(int, 0),
}  # fmt: skip
_PRUNE = {**_GOALS, **_PRUNING, "epochs": Option(int, 0), "target": _TEXT}
_EXPORT = _fields(ExportRequest, without=("network", "output", "budget"))
_BUDGET = {"min_sqnr": _NUMBER, "min_agreement": _NUMBER}
_PROFILE = {
    "models": Option(list), "batch": Option(int), "seconds": Option(float, 3.0), "threads": Option(int, 0)
}  # fmt: skip
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "train",
            {**_TRAINED, **_TRAINING, **_QAT},
            ("network", "data"),
            _train,
            requests.train,
            ".safetensors",
        ),
        Kind(
            "distill",
            {**_TRAINED, **_TRAINING, **_DISTILL},
            ("network", "teacher"),
            _distill,
            requests.distill,
            ".safetensors",
        ),
        Kind(
            "prune",
            {**_NETWORK, "weights": _TRAINED["weights"], **_TRAINING, **_PRUNE},
            ("network",),
            _prune,
            requests.prune,
            ".safetensors",
        ),
        Kind("export", {**_NETWORK, **_EXPORT, **_BUDGET}, ("network",), _export, requests.export, ".onnx"),
        Kind("eval", {"model": _TEXT, "data": _TEXT}, ("model", "data"), _eval, _nothing_more),
        Kind("profile", _PROFILE, ("models",), _profile, _check_profile),
    )
}
