"""What a run that was cut off needs to go on: one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from edgecnn import files
from edgecnn.errors import ArtifactError, InvalidValueError
from edgecnn.optional_packages import require

_KEY = "edgecnn_training"


def state_path(output: Path) -> Path:
    """Return where the state of a run that writes `output` lies while it is not done."""
    return output.with_name(f"{output.name}.training")


def check_resumable(state_file: Path, *, resume: bool) -> None:
    """Raise InvalidValueError where a run was cut off that nobody asked to resume."""
    if state_file.exists() and not resume:
        raise InvalidValueError(
            f"{state_file} is of a run that was cut off",
            hint=f"`resume` goes on with it; to start anew, delete it: rm {state_file}",
        )


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands, after some steps of a stage."""

    #: What the run was asked for; another run must not go on from here.
    identity: Mapping[str, Any]
    stage: int
    step: int
    #: Sum of the losses of the running epoch.
    total: float
    history: list[dict[str, Any]]
    #: Of mixed precision in float16.
    scaler: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def write(self, path: Path) -> None:
        """Write to `path`. Raises OutputError."""
        safetensors = require("safetensors.torch", "saving a training run")
        known = {
            "identity": self.identity, "stage": self.stage, "step": self.step,
            "total": self.total, "history": self.history, "scaler": self.scaler,
        }  # fmt: skip
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.tensors.items()}
        files.write_atomic(path, safetensors.save(tensors, {_KEY: json.dumps(known)}))

    @classmethod
    def read(cls, path: Path, identity: Mapping[str, Any]) -> TrainingState:
        """Read what `write` wrote.

        Raises ArtifactError for a damaged file, InvalidValueError if another run wrote it.
        """
        safetensors = require("safetensors", "resuming a training run")
        try:
            with safetensors.safe_open(path, "pt") as stream:
                known = json.loads(stream.metadata()[_KEY])
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        except Exception as error:  # SafetensorError, which has no common base, and what JSON raises
            raise ArtifactError(f"{path} is no state of a training run: {error}", hint="delete it") from error
        changed = [key for key in identity if known["identity"].get(key) != identity[key]]
        if changed:
            key = changed[0]
            raise InvalidValueError(
                f"{path} belongs to another run: {key} was {known['identity'].get(key)}, now {identity[key]}",
                hint=f"ask for the same again, or delete {path} to start anew",
            )
        return cls(**known, tensors=tensors)


def gather(modules: Mapping[str, nn.Module], optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of modules and of an optimizer by name."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in slots.items() if value is not None}
    return tensors


def restore_module(module: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Fill a module from what `gather` returned."""
    start = f"{name}/"
    module.load_state_dict(
        {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
    )


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Fill an optimizer from what `gather` returned.

    What it keeps of a parameter lies in memory as the parameter does: a fused step walks through both at
    once, from the first number to the last, whatever their strides say.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = _laid_out_as(parameters[int(index)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a value with the strides of a parameter of its shape; another shape stays as it is."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
