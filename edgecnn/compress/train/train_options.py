"""How a network is trained, with every value checked before work begins."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from edgecnn.data.augmentations import AUGMENTATIONS
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, option, seed

OPTIMIZERS = ("adamw", "sgd")
#: Arithmetic of the forward pass: mixed precision keeps float32 weights.
PRECISIONS = ("no", "bf16", "fp16")
#: Learning rate at a batch of 128, from scratch and for fine-tuning. Adam's grows with the root of the
#: batch, SGD's with the batch (Goyal 2017).
_RATES = {"adamw": (3e-3, 5e-4), "sgd": (0.1, 0.01)}


@dataclass(frozen=True)
class TrainOptions(Request):
    """Raises InvalidValueError or UnknownNameError when made with values that cannot work."""

    epochs: int = option(30, "Passes over the images.", least=1, most=1_000_000)
    batch: int = option(64, "Images per step, of all processes together.", least=1, most=1_000_000)
    optimizer: str = option("adamw", "Optimizer: adamw or sgd.", choices=OPTIMIZERS)
    lr: float | None = option(
        None,
        "Highest learning rate.",
        unset="by optimizer, batch and weights",
        least=1e-12,
        most=1e3,
    )
    weight_decay: float = option(
        0.05, "Decay of weights; biases and normalizations are not decayed.", least=0, most=10
    )
    #: After them it falls to zero along a cosine.
    warmup: float | None = option(
        1.0, "Epochs in which the learning rate rises.", unset="a tenth, at most 1", least=0
    )
    freeze: int | None = option(
        None,
        "Epochs in which a new classifier is trained alone, before the others.",
        unset="a tenth",
        least=0,
    )
    augmentation: str = option(
        "light", "Augmentation: none, digits, light, standard, objects, strong.", choices=AUGMENTATIONS
    )
    label_smoothing: float = option(
        0.1, "Share of the target that is spread over all classes.", least=0, most=0.9
    )
    #: Beta distribution's parameter of mixup (Zhang 2018) and cutmix (Yun 2019).
    mixup: float = option(0.0, "Strength of mixup; 0 for none.", least=0, most=100)
    cutmix: float = option(0.0, "Strength of CutMix; 0 for none.", least=0, most=100)
    ema: float = option(
        0.0, "Decay of averaged weights, which are then the result; 0 for none.", least=0, most=0.999999
    )
    amp: str = option("no", "Mixed precision: no, bf16, fp16.", choices=PRECISIONS)
    channels_last: bool = option(True, "Memory layout of images and weights.", no="channels_first")
    clip: float | None = option(
        1.0, "Largest norm of the gradient.", unset="no limit", least=1e-12, most=math.inf
    )
    validation: float = option(
        0.1, "Share of the training images that measures each epoch.", least=0, most=0.5
    )
    seed: int = seed()
    workers: int | None = option(
        None, "Threads that decode images.", unset="the loader's choice", least=1, most=1024
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, most in (
            ("warmup", self.warmup or 0, self.epochs),
            ("freeze", self.freeze or 0, self.epochs - 1),
        ):
            if value > most:
                raise InvalidValueError(f"`{name}` of {value:g} epochs cannot be used", hint=f"0 to {most}")

    @property
    def rise(self) -> float:
        """Epochs in which the rate rises from zero."""
        return min(1.0, self.epochs / 10) if self.warmup is None else self.warmup

    def learning_rate(self, *, fine_tuning: bool) -> float:
        """Return the highest learning rate."""
        if self.lr is not None:
            return self.lr
        rate = _RATES[self.optimizer][fine_tuning]
        scale = self.batch / 128
        return rate * (scale if self.optimizer == "sgd" else math.sqrt(scale))

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage records."""
        return dataclasses.asdict(self)
