"""What a step of a recipe can be: a table. Each row calls the function that the command of its name calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecnn.budget import Budget
from edgecnn.compress.train.options import TrainOptions
from edgecnn.errors import RecipeError
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
class Kind:
    """One kind of step."""

    name: str
    #: Option: its default; `required` ones have None.
    options: Mapping[str, Any]
    required: tuple[str, ...]
    run: Callable[[Options, Path, Listener], Result]
    #: What the name of the file that it makes ends with; None if it makes none.
    suffix: str | None = None

    def defaults(self) -> dict[str, Any]:
        """Return the options that have a default."""
        return {key: value for key, value in self.options.items() if key not in self.required}

    def suffix_of(self, options: Options) -> str | None:
        """Return what the name of the file of a step ends with."""
        return ".onnx" if options.get("qat") else self.suffix


def _fields(*kinds: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of dataclasses with their defaults."""
    found = [item for kind in kinds for item in dataclasses.fields(kind) if item.name not in without]
    return {item.name: None if item.default is dataclasses.MISSING else item.default for item in found}


_NETWORK = {"network": None, **_fields(NetworkSpec, without=("name",))}
_TRAINING = {**_fields(TrainOptions), "data": None}
_QAT = {"qat": False, "target": "portable"}
_KEYS = ("top1", "n", "params", "macs", "bytes", "seconds")


def _spec(options: Options, *, weights: str | None = None) -> NetworkSpec:
    """Return the network of a step."""
    fields = {
        item.name: options[item.name] for item in dataclasses.fields(NetworkSpec) if item.name in options
    }
    return NetworkSpec(**{**fields, "name": options["network"]})


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
        **_beside(output),
    )
    done = train_quantized(request, listener.report, listener.say)
    keys = (*_KEYS, "precision", "float_top1", "untrained_top1", "simulation_agreement", "parity")
    return Result(_only(done.to_json(), keys), done.notes)


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
        options=_training(options) if options["finetune"] else None,
        **{key: options[key] for key in (*_PRUNING, "data", "target")},
    )
    done = prune_file(request, listener.say)
    found = done.to_json()
    metrics = _only(found, ("top1", "params", "macs", "bytes", "params_before", "macs_before", "latency"))
    return Result(metrics, done.notes, done.met)


def _export(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.export import ExportRequest, export

    budget = Budget(options["min_sqnr"], options["min_agreement"])
    request = ExportRequest(
        _spec(options),
        output,
        precision=options["precision"],
        target=options["target"],
        batch=options["batch"],
        calib=Path(options["calib"]) if options["calib"] else None,
        data=options["data"],
        calib_images=options["calib_images"],
        effort=options["effort"],
        budget=budget,
    )
    done = export(request, listener.say)
    return Result(_only(done.to_json(), (*_KEYS, "precision", "parity")), done.notes, done.met)


def _eval(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.data.trained_on import test_images
    from edgecnn.measure.accuracy import evaluate
    from edgecnn.runtime import load

    with load(options["model"]) as engine:
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


_DISTILL = {
    "teacher": None, "teacher_weights": "imagenet", "temperature": 4.0, "weight": 0.9, "features": "none",
    "feature_weight": 1.0, "unlabeled": None,
}  # fmt: skip
_GOALS = ("ratio", "target_macs", "target_params", "target_latency", "sparsity")
_PRUNING = {
    "importance": None, "spread": "uniform", "align": None, "rounds": 1, "measure": True, "seconds": 3.0,
    "threads": 0,
}  # fmt: skip
_PRUNE = {**dict.fromkeys(_GOALS), **_PRUNING, "finetune": True, "target": None}
_EXPORT = {
    "precision": "float32", "target": "portable", "batch": None, "calib": None, "data": None,
    "calib_images": 64, "effort": None, "min_sqnr": None, "min_agreement": None,
}  # fmt: skip
KINDS = {
    kind.name: kind
    for kind in (
        Kind("train", {**_NETWORK, **_TRAINING, **_QAT}, ("network", "data"), _train, ".safetensors"),
        Kind(
            "distill", {**_NETWORK, **_TRAINING, **_DISTILL}, ("network", "teacher"), _distill, ".safetensors"
        ),
        Kind("prune", {**_NETWORK, **_TRAINING, **_PRUNE}, ("network",), _prune, ".safetensors"),
        Kind("export", {**_NETWORK, **_EXPORT}, ("network",), _export, ".onnx"),
        Kind("eval", {"model": None, "data": None}, ("model", "data"), _eval),
        Kind("profile", {"models": None, "batch": None, "seconds": 3.0, "threads": 0}, ("models",), _profile),
    )
}
