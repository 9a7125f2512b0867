"""The options of every verb that measures engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.backends import listed
from edgecnn.data.input_options import InputOptions
from edgecnn.decoder_option import DecoderOption
from edgecnn.errors import InvalidValueError
from edgecnn.measure.input_choice import InputChoice
from edgecnn.metric_option import METRIC, UserFunction
from edgecnn.options import Request, group, option
from edgecnn.runtime.preparation_options import PreparationOptions

#: The libraries count images in 32 bits.
_MOST_IMAGES = 2**31 - 1
#: Longer sides make more pixels than an image may have.
_MOST_PIXELS = 16384
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Request):
    """Which engine computes. Raises InvalidValueError for values that cannot work."""

    device: str = option("auto", "Device: auto, cpu, cuda.", choices=DEVICES)
    threads: int = option(0, "CPU threads; 0: the library's choice.", least=0, most=1024)
    backend: str | None = option(
        None,
        f"Engine library to build ONNX files for first, kept by content: {listed()}.",
        unset="run them as they are",
    )
    preparation: PreparationOptions = group(PreparationOptions)
    decoding: DecoderOption = group(DecoderOption)


@dataclass(frozen=True)
class SampleOptions(InputOptions):
    """What engines are measured on that take something else than one image."""

    samples: Path | None = option(
        None,
        "Folder of .npz files to measure on, a sample each: an array for each input by its name.",
        unset="a photograph",
        path="folder",
    )

    def choice(self) -> InputChoice:
        """Return what is measured on."""
        return InputChoice(None, self.constants, self.samples)


def batches(text: str) -> tuple[int, ...]:
    """Read "8" or "1,2,4,8"; raises InvalidValueError for what is none, or is there twice."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidValueError(f"{text!r} is no list of batches", hint="8, or 1,2,4,8") from error
    for batch in found:
        if not 1 <= batch <= _MOST_IMAGES:
            raise InvalidValueError(f"a batch of {batch} cannot be used", hint="1 or more")
        if found.count(batch) > 1:
            raise InvalidValueError(f"batch {batch} is there twice", hint="8, or 1,2,4,8")
    return found


def sides(text: str) -> tuple[int, ...]:
    """Read "256,384,512"; raises InvalidValueError for what is none, or is there twice."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidValueError(f"{text!r} is no list of sides", hint="256,384,512") from error
    if min(found) < 1 or max(found) > _MOST_PIXELS or len(set(found)) < len(found):
        raise InvalidValueError(
            f"{text!r} cannot be used", hint=f"different sides of 1 to {_MOST_PIXELS} pixels"
        )
    return found


@dataclass(frozen=True)
class ProfileRequest(EngineOptions):
    """Latency and throughput of engines, in turns."""

    models: tuple[str, ...] = option(help="Model files.", path="read", argument=True)
    batch: tuple[int, ...] | None = option(
        None, "Images per inference: 8, or 1,2,4,8.", unset="1, or the model's", read=batches
    )
    seconds: float = option(3.0, "Time per model.", least=0.1, most=3600)
    inputs: SampleOptions = group(SampleOptions)
    layers: bool = option(False, "Where the time goes, by the network's layers.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise InvalidValueError("there is no model to measure", hint="`models`: one or several files")


@dataclass(frozen=True)
class CompareRequest(EngineOptions):
    """Engines side by side; the first is what the others are compared with."""

    models: tuple[str, ...] = option(help="Model files, the baseline first.", path="read", argument=True)
    batch: int | None = option(
        None, "Images per inference.", unset="1, or the model's", least=1, most=_MOST_IMAGES
    )
    seconds: float = option(5.0, "Time per model, at least.", least=0.1, most=3600)
    inputs: SampleOptions = group(SampleOptions)
    force: bool = option(False, "Compare although the conditions are unlike; the result says so.")
    fail_above: float | None = option(
        None, "Times as long as the first that one may take, else exit with 3: 1.05.", above=0
    )


@dataclass(frozen=True)
class PredictRequest(EngineOptions):
    """What is in images."""

    inputs: InputOptions = group(InputOptions)


@dataclass(frozen=True)
class EvalRequest(EngineOptions):
    """Accuracy on labelled images."""

    model: Path = option(help="Model file.", path="read", argument=True)
    data: str = option(
        help="Folder with one folder per class, of boxes or of masks; or: digits, mnist, cifar10,"
        " hf:OWNER/NAME; .npz samples.",
        path="folder",
    )
    metric: str | UserFunction | None = option(None, METRIC)
    inputs: InputOptions = group(InputOptions)
    reference: Path | None = option(
        None, "File whose answers to compare with, such as the float one's.", path="read"
    )
    batch: int = option(8, "Images per inference.", least=1, most=_MOST_IMAGES)
    crops: int = option(
        1, "Crops of each image, as papers test, whose class probabilities are averaged: 1, 5, 10, 50, 144."
    )
    scales: tuple[int, ...] | None = option(
        None,
        "Shorter sides that each image is resized to for further crops: 256,384,512.",
        unset="the file's own",
        read=sides,
    )
    mirror: bool = option(False, "Average over mirrored crops too.")
    ensemble: tuple[Path, ...] = option(
        (), "Further model files whose class probabilities are averaged with MODEL's.", path="read"
    )
    cache: bool = option(
        False,
        "Keep the decoded images, of 150 kB each at 224 x 224; the next evaluation only reads them.",
    )
    preprocessing_parity: bool = option(False, "Compare the input with what torchvision would prepare.")
