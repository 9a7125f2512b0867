"""What is asked of a distillation, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.compress.train.train_request import TrainRequest
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, group, option
from edgecnn.zoo.spec import NetworkSpec

FEATURES = ("none", "hint", "attention")
#: What the name of a teacher that is a file ends with.
_FILES = (".onnx", ".safetensors")


@dataclass(frozen=True)
class DistillOptions(Request):
    """Learning from a teacher. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    teacher: str = option(help="Teacher: FILE.safetensors, FILE.onnx, or the name of a network.", path="read")
    teacher_weights: str = option("imagenet", "Weights of a network by its name.")
    temperature: float = option(
        4.0, "Temperature that softens the teacher's answers.", title="a temperature", above=0, most=100
    )
    weight: float = option(
        0.9, "Share of the teacher's answers in the loss; the rest is the labels'.", above=0, most=1
    )
    features: str = option("none", "Features learned too: hint, attention, none.", choices=FEATURES)
    feature_weight: float = option(30.0, "Weight of the features in the loss.", least=0, most=1e6)
    unlabeled: Path | None = option(None, "Folder of more images, without labels.", path="folder")


@dataclass(frozen=True, kw_only=True)
class DistillRequest(TrainRequest):
    """A training run with a teacher beside the labels, or instead of them."""

    teaching: DistillOptions = group(DistillOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        teaching = self.teaching
        if self.data is None and teaching.unlabeled is None:
            raise InvalidValueError("there is nothing to learn from", hint="give `data`, `unlabeled` or both")
        if not teaching.teacher.endswith(_FILES):
            NetworkSpec(teaching.teacher, weights=teaching.teacher_weights)
