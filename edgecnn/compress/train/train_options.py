"""How a network is trained, with every value checked before work begins."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from edgecnn.data.augment import augmentation
from edgecnn.errors import InvalidValueError
from edgecnn.registry import suggest

OPTIMIZERS = ("adamw", "sgd")
#: Arithmetic of the forward pass: mixed precision keeps float32 weights.
PRECISIONS = ("no", "bf16", "fp16")
#: Learning rate at a batch of 128, from scratch and for fine-tuning. Adam's grows with the root of the
#: batch, SGD's with the batch (Goyal 2017).
_RATES = {"adamw": (3e-3, 5e-4), "sgd": (0.1, 0.01)}


@dataclass(frozen=True)
class TrainOptions:
    """Raises InvalidValueError or UnknownNameError when made with values that cannot work."""

    epochs: int = 30
    batch: int = 64
    optimizer: str = "adamw"
    #: Highest learning rate; None for the optimizer's default at this batch.
    lr: float | None = None
    weight_decay: float = 0.05
    #: Epochs in which the rate rises from zero; after them it falls to zero along a cosine.
    warmup: float = 1.0
    #: Epochs in which only a new classifier is trained, before the others; None for 10 % of them.
    freeze: int | None = None
    #: Name of a preset of `data.augment`.
    augmentation: str = "light"
    label_smoothing: float = 0.1
    #: Beta distribution's parameter of mixup (Zhang 2018) and cutmix (Yun 2019); 0 for none.
    mixup: float = 0.0
    cutmix: float = 0.0
    #: Decay of the averaged weights, which are then the result; 0 for none.
    ema: float = 0.0
    amp: str = "no"
    channels_last: bool = True
    #: Largest norm of the gradient; None for no limit.
    clip: float | None = 1.0
    #: Share of the training images that only measure.
    validation: float = 0.1
    seed: int = 0
    #: Threads that decode and augment; None for the loader's choice.
    workers: int | None = None

    def __post_init__(self) -> None:
        _known("optimizer", self.optimizer, OPTIMIZERS)
        _known("mixed precision", self.amp, PRECISIONS)
        augmentation(self.augmentation)
        for name, value, low, high in (
            ("epochs", self.epochs, 1, 1_000_000),
            ("a batch", self.batch, 1, 1_000_000),
            ("a learning rate", self.learning_rate(fine_tuning=False), 1e-12, 1e3),
            ("a weight decay", self.weight_decay, 0, 10),
            ("a warm-up", self.warmup, 0, self.epochs),
            ("frozen epochs", self.freeze or 0, 0, self.epochs - 1),
            ("label smoothing", self.label_smoothing, 0, 0.9),
            ("mixup", self.mixup, 0, 100),
            ("cutmix", self.cutmix, 0, 100),
            ("an averaging decay", self.ema, 0, 0.999999),
            ("a gradient norm", 1.0 if self.clip is None else self.clip, 1e-12, math.inf),
            ("a validation share", self.validation, 0, 0.5),
            ("a number of threads", 1 if self.workers is None else self.workers, 1, 1024),
            ("a seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise InvalidValueError(
                    f"{name} of {value:g} cannot be used", hint=f"{low:g} to {high:g}, both included"
                )

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


def _known(what: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise InvalidValueError(f"unknown {what} {value!r}", hint=suggest(value, list(names)))
