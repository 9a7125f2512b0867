"""Which network: an architecture with its options, or a checkpoint that edgecnn wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn import request_json as asked
from edgecnn.artifact import Manifest
from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size
from edgecnn.options import Request, option, seed
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import checkpoint_manifest
from edgecnn.zoo.architecture import MAX_CHANNELS, MAX_CLASSES, Architecture
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.width import MAX_ALPHA

#: What the name of a checkpoint ends with.
CHECKPOINT_SUFFIX = ".safetensors"
#: Inputs beyond this are taken for a slip of the finger.
MAX_RESOLUTION = 4096


@dataclass(frozen=True)
class NetworkSpec(Request):
    """A network by the name of its architecture, or by the path of a checkpoint of ours.

    Raises UnknownNameError, InvalidValueError or ArtifactError when made with values that cannot work.
    """

    name: str = option(help="Network by its name, or FILE.safetensors.", name="network", argument=True)
    alpha: float = option(1.0, "Width multiplier.", above=0, most=MAX_ALPHA, usual="0.25, 0.5, 0.75 and 1")
    resolution: Size | None = option(
        None, "Side of the input in pixels, or HEIGHTxWIDTH, instead of `rho`.", read=Size.of
    )
    rho: float | None = option(None, "Resolution multiplier.")
    phi: float | None = option(None, "Compound scaling, of: efficientnet.")
    #: Another number of classes than the weights': the classifier starts anew.
    num_classes: int | None = option(
        None, "Number of classes.", name="classes", unset="the network's own", least=1, most=MAX_CLASSES
    )
    in_channels: int | None = option(
        None,
        "Number of input channels.",
        name="channels",
        unset="the network's own",
        least=1,
        most=MAX_CHANNELS,
    )
    #: "auto" becomes "imagenet" where such weights are known for this very network, else "random".
    weights: str = option(
        "random",
        "Weights: random, imagenet, auto (imagenet where known), FILE.safetensors, FILE.pth[#PART],"
        " hf:OWNER/REPO[@REVISION].",
    )
    seed: int = seed()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution is not None:
            object.__setattr__(self, "resolution", Size.of(self.resolution))
        if self.name.endswith(".onnx"):
            raise InvalidValueError(
                f"{self.name} is an ONNX file; a network or a checkpoint ({CHECKPOINT_SUFFIX}) is needed",
                hint="edgecnn quantize, compile and profile take ONNX files",
            )
        if self.rho is not None and self.resolution is not None:
            raise InvalidValueError("`rho` and `resolution` say the same thing", hint="give one of them")
        if self.rho is not None and not (math.isfinite(self.rho) and 0 < self.rho <= 8):
            raise InvalidValueError(
                f"rho must be above 0 and at most 8, not {self.rho:g}", hint="rho scales the input's sides"
            )
        if self.weights == "auto":
            object.__setattr__(self, "weights", self._known_weights())
        if self.is_checkpoint:
            self._refuse_what_the_checkpoint_says()
        _ = self.architecture  # its name, and phi
        if not 8 <= min(self.size) <= max(self.size) <= MAX_RESOLUTION:
            raise InvalidValueError(
                f"an input of {self.size} pixels cannot be used", hint=f"8 to {MAX_RESOLUTION} pixels a side"
            )

    def _known_weights(self) -> str:
        if self.is_checkpoint or self.alpha != 1 or self.phi is not None:
            return "random"
        return "random" if architecture(self.name).imagenet is None else "imagenet"

    def _refuse_what_the_checkpoint_says(self) -> None:
        given = {
            "`alpha`": self.alpha != 1,
            "`phi`": self.phi is not None,
            "`channels`": self.in_channels is not None,
            "`weights`": self.weights != "random",
        }
        if names := [name for name, is_given in given.items() if is_given]:
            raise InvalidValueError(
                f"{self.name} says itself what {' and '.join(names)} would say",
                hint="leave them out, or name the architecture and give `weights`",
            )
        _ = self.manifest

    def asked(self) -> dict[str, Any]:
        """Return what the lineage keeps, to do it again: of a checkpoint the name, not the folder."""
        return {**asked.to_json(self), "name": Path(self.name).name}

    @property
    def is_checkpoint(self) -> bool:
        """Whether `name` is the path of a checkpoint."""
        return self.name.endswith(CHECKPOINT_SUFFIX)

    @cached_property
    def manifest(self) -> Manifest | None:
        """What a checkpoint says of itself; None for an architecture. Raises ArtifactError."""
        if not self.is_checkpoint:
            return None
        return checkpoint_manifest.read(self.name)

    @property
    def architecture(self) -> Architecture:
        """Row of the catalogue, scaled by `phi`."""
        if self.manifest is None:
            return architecture(self.name, self.phi)
        return architecture(str(self.manifest.architecture), self.manifest.lineage[0].parameters.get("phi"))

    @property
    def width(self) -> float:
        """Width multiplier of the network, which a checkpoint knows itself."""
        return self.alpha if self.manifest is None else self.manifest.alpha

    @property
    def size(self) -> Size:
        """Height and width of the input, in pixels."""
        if self.resolution is not None:
            return self.resolution
        known = self.manifest.resolution if self.manifest else None
        default = Size.of(known) if known else self.architecture.size
        return default if self.rho is None else default.scaled(self.rho)

    @property
    def classes(self) -> int:
        """Number of classes."""
        if self.num_classes is not None:
            return self.num_classes
        if self.manifest is not None:
            return int(self.manifest.outputs[0].shape[1])
        return self.architecture.num_classes

    @property
    def has_new_classifier(self) -> bool:
        """Whether the classifier is not that of the weights: another number of classes was asked for."""
        known = self.architecture.num_classes
        if self.manifest is not None:
            known = int(self.manifest.outputs[0].shape[1])
        return self.origin == "random" or self.classes != known

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the input."""
        if self.manifest is not None and self.manifest.preprocessing:
            return Preprocessing.from_json(self.manifest.preprocessing).at(self.size)
        channels = self.architecture.in_channels if self.in_channels is None else self.in_channels
        return self.architecture.preprocessing.at(self.size).with_channels(channels)

    @property
    def labels(self) -> str | tuple[str, ...] | None:
        """What the classes are called, as in a manifest; None where that is not known."""
        if self.manifest is not None:
            return self.manifest.labels if self.classes == self.manifest.outputs[0].shape[1] else None
        return self.architecture.labels if self.classes == self.architecture.num_classes else None

    @property
    def origin(self) -> str:
        """Where the weights come from: "random", "imagenet", "digits", a file or a hub name."""
        return self.weights if self.manifest is None else self.manifest.weights or self.name

    @property
    def sha256(self) -> str | None:
        """Hash of the checkpoint; None for an architecture."""
        return files.sha256(self.name) if self.is_checkpoint else None

    @property
    def stem(self) -> str:
        """What files made from this network are called, without folder and ending."""
        return Path(self.name).stem if self.is_checkpoint else self.name
