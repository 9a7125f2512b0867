"""What is asked of a training run, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, group, option
from edgecnn.zoo.spec import NetworkSpec

#: What `data` takes everywhere.
DATA = "Labelled images: a folder of class folders, digits, mnist, cifar10, hf:OWNER/NAME."


@dataclass(frozen=True)
class TrainingRun(Request):
    """What every training run is asked. `network` is an architecture or a checkpoint."""

    network: NetworkSpec = group(NetworkSpec, "num_classes", weights="auto")
    output: Path = option(
        None,
        "File to write.",
        unset="NAME.safetensors; NAME-int8.onnx for int8",
        path="write",
        hidden=("recipe",),
    )
    data: str | None = option(None, DATA)
    options: TrainOptions = group(TrainOptions)
    #: The same request that is done already is not done again.
    resume: bool = option(False, "Go on where a run for this output was cut off.", hidden=("recipe",))
    log: Path | None = option(
        None, "Log with a row for each epoch: FILE.csv or FILE.json.", path="write", hidden=("recipe",)
    )
    plot: Path | None = option(
        None, "Plot of loss and accuracy: FILE.png, .svg, .pdf.", path="write", hidden=("recipe",)
    )


@dataclass(frozen=True)
class TrainRequest(TrainingRun):
    """A run that writes a checkpoint; its classes become those of the data.

    Raises InvalidValueError for an output that is no checkpoint, or is the network's own.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is None:
            object.__setattr__(self, "output", Path(f"{self.network.stem}.safetensors"))
        demand_checkpoint(self.network, self.output)


def demand_checkpoint(network: NetworkSpec, output: Path) -> None:
    """Raise InvalidValueError if `output` is no checkpoint, or the one that is read."""
    if output.suffix != ".safetensors":
        raise InvalidValueError(
            f"a checkpoint cannot be written as {output.name}", hint="name it FILE.safetensors"
        )
    if network.is_checkpoint and Path(network.name).resolve() == output.resolve():
        raise InvalidValueError(
            f"{output} would be overwritten by what is made from it", hint="another name: `output`"
        )
