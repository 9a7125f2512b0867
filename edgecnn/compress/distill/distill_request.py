"""What is asked of a distillation, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.compress.train.train_request import TrainRequest
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, about, group, option
from edgecnn.runtime.preparation_options import numbers
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.reference import Reference
from edgecnn.zoo.spec import NetworkSpec

FEATURES = ("none", "hint", "attention")
#: What the name of a teacher that is a file ends with.
_FILES = (".onnx", ".safetensors")


@dataclass(frozen=True)
class DistillOptions(Request):
    """Learning from a teacher. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    teacher: str = option(help="Teacher: FILE.safetensors, FILE.onnx, or the name of a network.", path="read")
    teacher_weights: str = option("imagenet", "Weights of a network by its name.")
    teacher_mean: tuple[float, ...] | None = option(
        None,
        "Mean of the channels of a foreign ONNX teacher: 0.485,0.456,0.406.",
        read=numbers,
    )
    teacher_std: tuple[float, ...] | None = option(
        None, "Standard deviation likewise: 0.229,0.224,0.225.", read=numbers
    )
    teacher_code: str | None = option(
        None, "Code of a teacher that is a checkpoint of your own network, FILE.py:FUNCTION."
    )
    temperature: float = option(4.0, "Temperature that softens the teacher's answers.", above=0, most=100)
    weight: float = option(
        0.9, "Share of the teacher's answers in the loss; the rest is the labels'.", above=0, most=1
    )
    features: str = option("none", "Features learned too: hint, attention, none.", choices=FEATURES)
    feature_weight: float = option(30.0, "Weight of the features in the loss.", least=0, most=1e6)
    unlabeled: Path | None = option(None, "Folder of more images, without labels.", path="folder")

    def __post_init__(self) -> None:
        super().__post_init__()
        reference = None if self.teacher.endswith(_FILES) else Reference.parse(self.teacher)
        if reference is not None and not reference.library:
            raise InvalidValueError(
                f"{self.teacher} is code: a teacher of your own is a file, trained before",
                hint=f"`teacher` FILE.safetensors with `teacher_code` {self.teacher}, or FILE.onnx",
            )
        if self.preprocessing and not self.teacher.endswith(".onnx"):
            raise InvalidValueError(
                f"{self.teacher} says itself how its images are prepared",
                hint="`teacher_mean` and `teacher_std` are for an ONNX file that does not",
            )

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How a foreign teacher's images are prepared, where that was said."""
        with about(*(name for name in ("teacher_mean", "teacher_std") if getattr(self, name) is not None)):
            return Preprocessing.said(self.teacher_mean, self.teacher_std)


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
