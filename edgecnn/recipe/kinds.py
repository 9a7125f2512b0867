"""What a step of a recipe can be: a table. Each row calls the function that the command of its name calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecnn.artifact import Manifest
from edgecnn.budget import Budget
from edgecnn.compress.train.options import TrainOptions
from edgecnn.errors import RecipeError
from edgecnn.export.request import ExportRequest
from edgecnn.targets import target
from edgecnn.zoo.spec import NetworkSpec

if TYPE_CHECKING:
    from edgecnn.compress.train.fit import Report

Options = Mapping[str, Any]


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
        if self.type is float and type(value) is int:
            return float(value)
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ValueError(value)
        if type(value) is not self.type:
            raise ValueError(value)
        return value


@dataclass(frozen=True)
class Kind:
    """One kind of step."""

    name: str
    options: Mapping[str, Option]
    required: tuple[str, ...]
    run: Callable[[Options, Path, Listener], Result]
    #: What the name of the file that it makes ends with; None if it makes none.
    suffix: str | None = None

    def defaults(self) -> dict[str, Any]:
        """Return the options that need not be given."""
        return {key: option.default for key, option in self.options.items() if key not in self.required}

    def check(self, options: Options) -> None:
        """Raise what the step would raise for values that cannot work, as far as they are known yet."""
        if not str(options.get("network", "@")).startswith("@"):
            _spec(options)
        if options.get("epochs"):
            _training(options)
        if options.get("target"):
            target(options["target"])

    def suffix_of(self, options: Options) -> str | None:
        """Return what the name of the file of a step ends with."""
        return ".onnx" if options.get("qat") else self.suffix


_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "Path": str}
#: What the commands, and so recipes, call fields of `NetworkSpec`.
_CALLED = {"name": "network", "num_classes": "classes", "in_channels": "channels"}


def _fields(kind: type, without: tuple[str, ...] = ()) -> dict[str, Option]:
    """Return the fields of a dataclass as options; those without a default have None."""
    return {
        _CALLED.get(item.name, item.name): Option(
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
_KEYS = ("top1", "n", "params", "macs", "bytes", "seconds")


def _spec(options: Options) -> NetworkSpec:
    """Return the network of a step."""
    names = {item.name: _CALLED.get(item.name, item.name) for item in dataclasses.fields(NetworkSpec)}
    return NetworkSpec(**{field: options[name] for field, name in names.items() if name in options})


def _training(options: Options) -> TrainOptions:
    return TrainOptions(**{item.name: options[item.name] for item in dataclasses.fields(TrainOptions)})


def _beside(output: Path) -> dict[str, Any]:
    return {"log": output.with_suffix(".csv"), "plot": output.with_suffix(".png")}


def _train(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.train.pipeline import TrainRequest, train

    if options["qat"]:
        return _train_quantized(options, output, listener)
    request = TrainRequest(
        _spec(options), output, options["data"], _training(options), resume=True, **_beside(output)
    )
    trained = train(request, listener.report)
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _train_quantized(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.qat.pipeline import QatRequest, train_quantized

    request = QatRequest(
        _spec(options),
        output,
        options["data"],
        options["target"],
        _training(options),
        resume=True,
        force=options["force"],
        **_beside(output),
    )
    done = train_quantized(request, listener.report, listener.say)
    keys = (*_KEYS, "precision", "float_top1", "untrained_top1", "simulation_agreement", "parity")
    return Result(_only(done.to_json(), keys), [*done.notes, *_ruin(done.manifest)], done.met)


def _distill(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.distill.pipeline import Distill
    from edgecnn.compress.train.pipeline import TrainRequest, train

    own = {item.name: options[item.name] for item in dataclasses.fields(Distill)}
    unlabeled = own["unlabeled"]
    goal = Distill(**{**own, "unlabeled": Path(unlabeled) if unlabeled else None})
    request = TrainRequest(
        _spec(options), output, options["data"], _training(options), goal, resume=True, **_beside(output)
    )
    trained = train(request, listener.report)
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _prune(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.prune.file import PruneRequest, prune_file
    from edgecnn.compress.prune.goal import Goal
    from edgecnn.compress.prune.latency import LatencyGoal

    said = {key: options[key] for key in _GOALS if options[key] is not None}
    if len(said) != 1:
        raise RecipeError(f"pruning needs one goal, and has {len(said)}", hint=", ".join(_GOALS))
    goals: dict[str, Callable[[Any], Goal | LatencyGoal | None]] = {
        "ratio": Goal.without,
        "target_macs": lambda text: Goal.parse("macs", text),
        "target_params": lambda text: Goal.parse("params", text),
        "target_latency": LatencyGoal.parse,
        "sparsity": lambda _: None,
    }
    ((name, value),) = said.items()
    request = PruneRequest(
        _spec(options),
        output,
        goals[name](value),
        sparse=name == "sparsity",
        options=_training(options) if options["epochs"] else None,
        **{key: options[key] for key in (*_PRUNING, "data", "target")},
    )
    done = prune_file(request, listener.say)
    found = done.to_json()
    metrics = _only(found, ("top1", "params", "macs", "bytes", "params_before", "macs_before", "latency"))
    return Result(metrics, done.notes, done.met)


def _export(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.export import export

    agreement = options["min_agreement"]
    said = {key: options[key] for key in _EXPORT}
    request = ExportRequest(
        _spec(options),
        output,
        budget=Budget(options["min_sqnr"], None if agreement is None else agreement / 100),
        **{**said, "calib": Path(said["calib"]) if said["calib"] else None},
    )
    done = export(request, listener.say)
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
        return Result(
            _only(evaluate(engine, dataset, progress=listener.say).to_json(), ("top1", "n", "seconds"))
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


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}


_TEXT, _NUMBER = Option(str), Option(float)
_DISTILL = {
    "teacher": _TEXT, "teacher_weights": Option(str, "imagenet"), "temperature": Option(float, 4.0),
    "weight": Option(float, 0.9), "features": Option(str, "none"), "feature_weight": Option(float, 30.0),
    "unlabeled": _TEXT,
}  # fmt: skip
_GOALS = {
    "ratio": _NUMBER, "target_macs": _TEXT, "target_params": _TEXT, "target_latency": _TEXT, "sparsity": _TEXT
}  # fmt: skip
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
        Kind("train", {**_TRAINED, **_TRAINING, **_QAT}, ("network", "data"), _train, ".safetensors"),
        Kind(
            "distill", {**_TRAINED, **_TRAINING, **_DISTILL}, ("network", "teacher"), _distill, ".safetensors"
        ),
        Kind(
            "prune",
            {**_NETWORK, "weights": _TRAINED["weights"], **_TRAINING, **_PRUNE},
            ("network",),
            _prune,
            ".safetensors",
        ),
        Kind("export", {**_NETWORK, **_EXPORT, **_BUDGET}, ("network",), _export, ".onnx"),
        Kind("eval", {"model": _TEXT, "data": _TEXT}, ("model", "data"), _eval),
        Kind("profile", _PROFILE, ("models",), _profile),
    )
}
