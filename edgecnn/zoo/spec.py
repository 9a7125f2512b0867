"""Which network: an architecture with its options, code that builds one, or a checkpoint of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn import request_json as asked
from edgecnn.artifact import Manifest
from edgecnn.errors import ArtifactError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.options import Request, about, option, seed
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import checkpoint_manifest, own_network
from edgecnn.zoo.architecture import MAX_CHANNELS, MAX_CLASSES, Architecture
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.reference import LIBRARIES, Reference, read_arguments
from edgecnn.zoo.width import MAX_ALPHA

#: What the name of a checkpoint ends with.
CHECKPOINT_SUFFIX = ".safetensors"
#: Inputs beyond this are taken for a slip of the finger.
MAX_RESOLUTION = 4096


@dataclass(frozen=True)
class NetworkSpec(Request):
    """A network by the name of its architecture, a reference to code, or the path of a checkpoint of ours.

    The code of a network that is none of the catalogue's runs when the network is opened, and only if whoever
    asks has named it: a checkpoint that says whose code it needs does not run it. Raises UnknownNameError,
    InvalidValueError or ArtifactError when made with values that cannot work.
    """

    name: str = option(
        help="Network by its name, FILE.py:FUNCTION, or FILE.safetensors.", name="network", argument=True
    )
    alpha: float = option(1.0, "Width multiplier.", above=0, most=MAX_ALPHA, usual="0.25, 0.5, 0.75 and 1")
    resolution: Size | None = option(
        None, "Side of the input in pixels, or HEIGHTxWIDTH, instead of `rho`.", read=Size.of
    )
    rho: float | None = option(None, "Resolution multiplier.", above=0, most=8)
    phi: float | None = option(None, "Compound scaling, of: efficientnet.")
    backbone: str | None = option(
        None, "Network under a detector's or segmenter's head, of: ssdlite, retinanet, unet and other heads."
    )
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
    #: "auto" becomes "coco" or "imagenet" where such weights are known for this very network, else "random".
    weights: str = option(
        "random",
        "Weights: random, imagenet (under a head the backbone's), coco, auto (what is known),"
        " FILE.safetensors, FILE.pth[#PART], hf:OWNER/REPO[@REVISION].",
    )
    seed: int = seed()
    args: tuple[str, ...] = option(
        (), "Argument of the function that builds your own network: KEY=VALUE; repeatable.", name="arg"
    )
    image_size: Size | None = option(
        None,
        "Height and width of the input, HEIGHTxWIDTH, or the side; another name of `resolution`.",
        name="size",
        read=Size.of,
    )
    code: str | None = option(
        None, "Code of a checkpoint of your own network, FILE.py:FUNCTION: it runs only where it is named."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take_size()
        if self.backbone is not None:
            with about("backbone"):
                architecture(self.backbone)
        if self.resolution is not None:
            object.__setattr__(self, "resolution", Size.of(self.resolution))
        if self.name.endswith(".onnx"):
            raise InvalidValueError(
                f"{self.name} is an ONNX file; a network or a checkpoint ({CHECKPOINT_SUFFIX}) is needed",
                hint="edgecnn quantize, compile and profile take ONNX files",
            )
        if self.rho is not None and self.resolution is not None:
            raise InvalidValueError("`rho` and `resolution` say the same thing", hint="give one of them")
        if self.weights == "auto":
            object.__setattr__(self, "weights", self._known_weights())
        if self.is_checkpoint:
            self._refuse_what_the_checkpoint_says()
        self._check_code()
        _ = self.architecture  # its name, and phi
        if not 8 <= min(self.size) <= max(self.size) <= MAX_RESOLUTION:
            said = "".join(f"`{name}`: " for name in ("resolution", "rho") if getattr(self, name) is not None)
            raise InvalidValueError(
                f"{said}an input of {self.size} pixels cannot be used",
                hint=f"8 to {MAX_RESOLUTION} pixels a side",
            )

    def _take_size(self) -> None:
        """Let `image_size` be the resolution."""
        if self.image_size is None:
            return
        if self.resolution is not None and Size.of(self.resolution) != Size.of(self.image_size):
            raise InvalidValueError("`size` and `resolution` say the same thing", hint="give one of them")
        object.__setattr__(self, "resolution", Size.of(self.image_size))
        object.__setattr__(self, "image_size", None)

    def _known_weights(self) -> str:
        if self.is_checkpoint or self.alpha != 1 or self.phi is not None:
            return "random"
        row = self.architecture
        if row.coco is not None:
            return "coco"
        under = row.arguments.get("backbone") if row.backbone is not None else None
        return "random" if (architecture(under) if under else row).imagenet is None else "imagenet"

    def _refuse_what_the_checkpoint_says(self) -> None:
        if self.code is not None:
            read_arguments(self.args)
        given = {
            "`alpha`": self.alpha != 1,
            "`phi`": self.phi is not None,
            "`backbone`": self.backbone is not None,
            "`channels`": self.in_channels is not None,
            "`weights`": self.weights != "random",
            "`arg`": bool(self.args) and self.code is None,
        }
        if names := [name for name, is_given in given.items() if is_given]:
            raise InvalidValueError(
                f"{self.name} says itself what {' and '.join(names)} would say",
                hint="leave them out, or name the architecture and give `weights`",
            )
        _ = self.manifest

    def _check_code(self) -> None:
        """Refuse code that is not there, or is asked what it cannot do, before it runs."""
        reference = self.reference
        if self.code is not None and (not self.is_checkpoint or reference is None or reference.library):
            raise InvalidValueError(
                f"{self.name} needs no `code`", hint="it is for a checkpoint of your own network"
            )
        if reference is None:
            if self.args:
                raise InvalidValueError(
                    f"{self.name} is a network of the catalogue, which takes no `arg`", hint="leave it out"
                )
            return
        reference.demand()
        read_arguments(self.args)
        if self.phi is not None:
            raise InvalidValueError(f"{reference.name} takes no `phi`", hint="leave it out")
        if self.backbone is not None:
            raise InvalidValueError(
                f"{reference.name} is built by its own code",
                hint="leave out `backbone`, or tell its code: `arg`",
            )
        if self.weights == "imagenet" and not self.architecture.imagenet:
            raise InvalidValueError(
                f"no ImageNet weights are known for {reference.name}",
                hint="leave out `weights` for those that its code gives it, or give a file",
            )

    def asked(self) -> dict[str, Any]:
        """Return what the lineage keeps, to do it again: of a checkpoint the name, not the folder."""
        code = {} if self.code is None or self.reference is None else {"code": self.reference.name}
        return {**asked.to_json(self), "name": Path(self.name).name, **code}

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

    @cached_property
    def reference(self) -> Reference | None:
        """Where the network's code is; None for the catalogue's.

        Raises ArtifactError for a checkpoint whose code nobody named.
        """
        if self.manifest is None:
            return Reference.parse(self.name)
        recorded = str(self.manifest.architecture)
        if ":" not in recorded:
            return None
        if recorded.partition(":")[0] in LIBRARIES:
            return Reference.parse(recorded)
        if self.code is None:
            raise ArtifactError(
                f"{self.name} is a network that {recorded} builds, and no file makes edgecnn run code",
                hint=f"if you know that code, name it: `code` {recorded}",
            )
        named = Reference.parse(self.code)
        if named is None or named.library:
            raise InvalidValueError(f"{self.code!r} names no code of yours", hint=f"`code` {recorded}")
        return named

    @property
    def in_catalogue(self) -> bool:
        """Whether the zoo's code builds it."""
        return self.reference is None

    @property
    def recorded_name(self) -> str:
        """What a checkpoint says that it is a network of."""
        return self.architecture.name

    @property
    def named_code(self) -> str | None:
        """What `code` has to be for a checkpoint that is made of this network; None for no need."""
        if self.reference is None or self.reference.library:
            return None
        return self.code or self.name

    @property
    def code_identity(self) -> list[Any]:
        """What tells one network of somebody's code from another: its file's content, and the arguments."""
        reference = self.reference
        if reference is None:
            return []
        return [files.sha256(reference.place) if reference.is_file else None, *self.args]

    @cached_property
    def _row(self) -> Architecture:
        """Row of a network that is none of the catalogue's."""
        assert self.reference is not None
        known = self.manifest.resolution if self.manifest else None
        return own_network.row(self.reference, resolution=self.resolution or known, channels=self.in_channels)

    @property
    def architecture(self) -> Architecture:
        """Row of the catalogue, scaled by `phi`, or what stands for one."""
        if self.reference is not None:
            return self._row
        if self.manifest is None:
            return architecture(self.name, self.phi, self.backbone)
        built = self.manifest.lineage[0].parameters
        return architecture(str(self.manifest.architecture), built.get("phi"), built.get("backbone"))

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
        return self.known_classes

    @property
    def known_classes(self) -> int:
        """Number of classes of the weights; 0 where there are none, or where nothing says."""
        if self.manifest is None:
            return self.architecture.num_classes
        outputs = self.manifest.outputs
        if self.manifest.task is not None:
            said = [step.parameters.get("classes") for step in self.manifest.lineage]
            return next((count for count in reversed(said) if count is not None), 0)
        if len(outputs) == 1 and len(outputs[0].shape) == 2:
            return int(outputs[0].shape[1])
        return own_network.recorded_classes(self.manifest)

    @property
    def gives_scores(self) -> bool:
        """Whether it gives one row of class scores, as far as a checkpoint says otherwise."""
        outputs = self.manifest.outputs if self.manifest is not None else ()
        return not outputs or (len(outputs) == 1 and len(outputs[0].shape) == 2)

    @property
    def has_new_classifier(self) -> bool:
        """Whether the classifier is not that of the weights: another number of classes was asked for."""
        if self.origin == own_network.ORIGIN:
            return False
        return self.origin == "random" or self.classes != self.known_classes or self.backbone_weights

    @property
    def backbone_weights(self) -> bool:
        """Whether the weights are those of the network under a head alone."""
        return self.weights == "imagenet" and self.in_catalogue and "backbone" in self.architecture.arguments

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
            return self.manifest.labels if self.classes == self.known_classes else None
        return (self.architecture.labels or None) if self.classes == self.known_classes else None

    @property
    def origin(self) -> str:
        """Where the weights come from: "random", "imagenet", "digits", a file or a hub name."""
        if self.manifest is not None:
            return self.manifest.weights or self.name
        own = self.reference is not None and not self.reference.library
        return own_network.ORIGIN if own and self.weights == "random" else self.weights

    @property
    def sha256(self) -> str | None:
        """Hash of the checkpoint; None for an architecture."""
        return files.sha256(self.name) if self.is_checkpoint else None

    @property
    def stem(self) -> str:
        """What files made from this network are called, without folder and ending."""
        if self.is_checkpoint:
            return Path(self.name).stem
        return self.reference.function if self.reference else self.name
