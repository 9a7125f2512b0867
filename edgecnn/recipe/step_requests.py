"""From a step's options to the request of its command, which refuses values that cannot work.

A recipe is checked before the first step, when files of earlier steps are still to come: a stand-in takes
their place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.artifact import Manifest, Step
from edgecnn.budget import Budget
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.errors import InvalidValueError, RecipeError
from edgecnn.export.export_request import ExportRequest
from edgecnn.zoo.spec import NetworkSpec

if TYPE_CHECKING:
    from edgecnn.compress.prune.goal import Goal
    from edgecnn.compress.prune.prune_file import PruneRequest
    from edgecnn.compress.prune.prune_to_latency import LatencyGoal
    from edgecnn.compress.qat.train_quantized import QatRequest
    from edgecnn.compress.train.train_network import TrainRequest

Options = Mapping[str, Any]

#: What the commands, and so recipes, call fields of `NetworkSpec`.
CALLED = {"name": "network", "num_classes": "classes", "in_channels": "channels"}
GOALS = ("ratio", "target_macs", "target_params", "target_latency", "sparsity")
PRUNING = ("importance", "spread", "align", "rounds", "measure", "seconds", "threads")


class _ToCome(NetworkSpec):
    """The checkpoint that an earlier step will have made."""

    @cached_property
    def manifest(self) -> Manifest | None:
        return Manifest((), (), architecture="mobilenet", weights="trained", lineage=(Step("build", {}),))


def train(options: Options, output: Path) -> TrainRequest | QatRequest:
    """Return the request of a `train` step."""
    if options["qat"]:
        from edgecnn.compress.qat.train_quantized import QatRequest

        return QatRequest(
            spec(options), output, options["data"], options["target"], training(options), resume=True,
            force=options["force"], **_beside(output),
        )  # fmt: skip
    from edgecnn.compress.train.train_network import TrainRequest

    return TrainRequest(
        spec(options), output, options["data"], training(options), resume=True, **_beside(output)
    )


def distill(options: Options, output: Path) -> TrainRequest:
    """Return the request of a `distill` step."""
    from edgecnn.compress.distill.distill_network import Distill
    from edgecnn.compress.train.train_network import TrainRequest

    own = {item.name: options[item.name] for item in dataclasses.fields(Distill)}
    unlabeled = own["unlabeled"]
    goal = Distill(**{**own, "unlabeled": Path(unlabeled) if unlabeled else None})
    if options["data"] is None and unlabeled is None:
        raise InvalidValueError("there is nothing to learn from", hint="data or unlabeled")
    if not options["teacher"].endswith((".onnx", ".safetensors")) and not options["teacher"].startswith("@"):
        NetworkSpec(options["teacher"], weights=options["teacher_weights"])
    return TrainRequest(
        spec(options), output, options["data"], training(options), goal, resume=True, **_beside(output)
    )


def prune(options: Options, output: Path) -> PruneRequest:
    """Return the request of a `prune` step."""
    from edgecnn.compress.prune.goal import Goal
    from edgecnn.compress.prune.prune_file import PruneRequest
    from edgecnn.compress.prune.prune_to_latency import LatencyGoal

    said = {key: options[key] for key in GOALS if options[key] is not None}
    if len(said) != 1:
        raise RecipeError(f"pruning needs one goal, and has {len(said)}", hint=", ".join(GOALS))
    ((name, value),) = said.items()
    if name == "sparsity" and value != "2:4":
        raise InvalidValueError(f"a sparsity of {value} is not known", hint="2:4")
    goals: dict[str, Callable[[Any], Goal | LatencyGoal | None]] = {
        "ratio": Goal.without,
        "target_macs": lambda text: Goal.parse("macs", text),
        "target_params": lambda text: Goal.parse("params", text),
        "target_latency": LatencyGoal.parse,
        "sparsity": lambda _: None,
    }
    return PruneRequest(
        spec(options),
        output,
        goals[name](value),
        sparse=name == "sparsity",
        options=training(options) if options["epochs"] else None,
        **{key: options[key] for key in (*PRUNING, "data", "target")},
    )


def export(options: Options, output: Path) -> ExportRequest:
    """Return the request of an `export` step."""
    agreement = options["min_agreement"]
    fields = {item.name for item in dataclasses.fields(ExportRequest)} - {"network", "output", "budget"}
    said = {key: options[key] for key in fields}
    return ExportRequest(
        spec(options),
        output,
        budget=Budget(options["min_sqnr"], None if agreement is None else agreement / 100),
        **{**said, "calib": Path(said["calib"]) if said["calib"] else None},
    )


def spec(options: Options) -> NetworkSpec:
    """Return the network of a step."""
    names = {item.name: CALLED.get(item.name, item.name) for item in dataclasses.fields(NetworkSpec)}
    values = {field: options[name] for field, name in names.items() if name in options}
    if values["name"].startswith("@"):
        return _ToCome(**{**values, "name": f"{values['name']}.safetensors"})
    return NetworkSpec(**values)


def training(options: Options) -> TrainOptions:
    """Return how a step trains."""
    return TrainOptions(**{item.name: options[item.name] for item in dataclasses.fields(TrainOptions)})


def _beside(output: Path) -> dict[str, Any]:
    return {"log": output.with_suffix(".csv"), "plot": output.with_suffix(".png")}
