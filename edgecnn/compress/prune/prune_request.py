"""What is asked of pruning, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecnn import request_json, targets
from edgecnn.compress.prune.goal import Goal, LatencyGoal
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.train_request import DATA, demand_checkpoint
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, about, group, option
from edgecnn.zoo.spec import NetworkSpec

IMPORTANCES = ("magnitude", "bn", "taylor", "fpgm", "random")
SPREADS = ("uniform", "global")
#: Fields that say how far to prune, of which one is given.
GOALS = ("ratio", "target_macs", "target_params", "target_latency", "sparsity")


@dataclass(frozen=True)
class PruneRequest(Request):
    """What is asked: exactly one goal. Raises InvalidValueError, or UnknownNameError for the target."""

    network: NetworkSpec = group(NetworkSpec, weights="auto")
    output: Path = option(
        None, "File to write.", unset="NAME-pruned.safetensors", path="write", hidden=("recipe",)
    )
    ratio: float | None = option(None, "Share of the channels that goes, 0 to 1.")
    target_macs: str | None = option(None, "Multiply-accumulates that are left: 100M, 0.5x.")
    target_params: str | None = option(None, "Parameters that are left: 2M, 0.5x.")
    target_latency: str | None = option(None, "Latency that is measured on this machine: 4ms, 0.6x.")
    sparsity: str | None = option(
        None, "Zeros for GPUs that skip them: 2:4; channels stay.", choices=("2:4",)
    )
    importance: str | None = option(
        None,
        "Importance of channels: magnitude, bn, taylor, fpgm, random.",
        unset="taylor with `data`, else magnitude",
        choices=IMPORTANCES,
    )
    spread: str = option(
        "uniform", "Spread: uniform (alike in all layers) or global (ranked together).", choices=SPREADS
    )
    align: int | None = option(
        None, "Multiple that channel counts should have.", unset="8; in int8 the target's"
    )
    #: None for float32.
    target: str | None = option(None, "Form of int8 to time: a name of `edgecnn targets`.", unset="float32")
    data: str | None = option(None, DATA)
    epochs: int = option(0, "Epochs of fine-tuning, in each round.", least=0, most=1_000_000)
    rounds: int = option(1, "Rounds of pruning and fine-tuning.", least=1)
    #: How `epochs` train.
    options: TrainOptions = group(TrainOptions, "epochs", warmup=None)
    #: For a latency that is done in any case.
    measure: bool = option(True, "Whether to time the result.", no="no_measure")
    seconds: float = option(3.0, "Seconds for each network per measurement.", above=0)
    threads: int = option(0, "Threads of the engine; 0: its own choice.", least=0, most=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is None:
            object.__setattr__(self, "output", Path(f"{self.network.stem}-pruned.safetensors"))
        if sum(getattr(self, name) is not None for name in GOALS) != 1:
            raise InvalidValueError(
                "pruning needs one goal", hint="one of " + ", ".join(f"`{name}`" for name in GOALS)
            )
        _ = self.goal
        if self.epochs and self.data is None:
            raise InvalidValueError("`epochs` of fine-tuning need labelled images", hint="give `data`")
        if self.importance == "taylor" and self.data is None:
            raise InvalidValueError("`importance` taylor needs labelled images", hint="give `data`")
        demand_checkpoint(self.network, self.output)
        if self.align is not None and self.align < 1:
            raise InvalidValueError(f"`align` of {self.align} cannot be used", hint="1 or more")
        _ = self.alignment

    @property
    def goal(self) -> Goal | LatencyGoal | None:
        """How far to prune; None for sparsity."""
        with about(next(name for name in GOALS if getattr(self, name) is not None)):
            if self.ratio is not None:
                return Goal.without(self.ratio)
            if self.target_macs is not None:
                return Goal.parse("macs", self.target_macs)
            if self.target_params is not None:
                return Goal.parse("params", self.target_params)
            return None if self.target_latency is None else LatencyGoal.parse(self.target_latency)

    @property
    def training(self) -> TrainOptions | None:
        """How the pruned network is trained; None for not at all."""
        return replace(self.options, epochs=self.epochs) if self.epochs else None

    @property
    def alignment(self) -> int:
        """The multiple that channel counts should have."""
        if self.align is not None:
            return self.align
        # 8 floats are a vector of AVX, and the block in which ONNX Runtime lays out channels.
        with about("target"):
            return 8 if self.target is None else targets.target(self.target).alignment

    @property
    def judged_by(self) -> str:
        """Name of the importance."""
        return self.importance or ("taylor" if self.data else "magnitude")

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage keeps, to do it again; how the latency was measured is no part of it."""
        kept = request_json.to_json(self, "network", "output", "measure", "seconds", "threads")
        return {"network": self.network.asked(), **kept}
