"""Networks of timm and torchvision, where these are installed: built and prepared for as they do it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from edgecnn.errors import InvalidValueError, MissingPackageError, UnknownNameError, WeightsError
from edgecnn.optional_packages import require
from edgecnn.registry import suggest
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.reference import Reference

#: Arguments by which the libraries would load files or download: weights are given by `weights` alone.
_WEIGHTS = re.compile(r"pretrained|weights|checkpoint|cfg|cache|progress|file|url|hub")


@dataclass(frozen=True)
class Library:
    """How one package is asked."""

    package: str
    #: (package, name) to the row that stands for its network. Raises UnknownNameError.
    row: Callable[[ModuleType, str], Architecture]
    #: (package, name, with its weights, arguments) to a network.
    build: Callable[[ModuleType, str, bool, Mapping[str, Any]], Any]
    #: What it calls the number of classes and of input channels; None where it takes none.
    num_classes: str = "num_classes"
    in_channels: str | None = None

    def open(self) -> ModuleType:
        """Import the package. Raises MissingPackageError."""
        try:
            return require(self.package, f"a network by the name {self.package}:NAME")
        except RuntimeError as error:  # torchvision's operators, beside a torch that it was not built for
            raise MissingPackageError(
                f"{self.package} cannot be imported: {' '.join(str(error).split())[:120]}",
                hint="install the build of torchvision that belongs to this torch",
            ) from error

    def arguments(
        self, given: Mapping[str, Any], classes: int | None, channels: int | None
    ) -> dict[str, Any]:
        """Return what is handed on. Raises InvalidValueError for an argument that loads something."""
        for key in given:
            if _WEIGHTS.search(key):
                raise InvalidValueError(
                    f"{self.package} takes no {key} here", hint="weights are given by `weights`"
                )
        if channels is not None and self.in_channels is None:
            raise InvalidValueError(
                f"networks of {self.package} take images as they are", hint="leave out `channels`"
            )
        counts = {self.num_classes: classes, str(self.in_channels): channels}
        return {**given, **{key: count for key, count in counts.items() if count is not None}}

    def network(self, name: str, arguments: Mapping[str, Any], *, weights: bool) -> Any:
        """Return a network, with the library's own weights or with drawn ones.

        Raises InvalidValueError for arguments that it refuses, WeightsError if its weights cannot be had.
        """
        package = self.open()
        try:
            return self.build(package, name, weights, arguments)
        except (TypeError, ValueError, AssertionError) as error:
            raise InvalidValueError(
                f"{self.package} does not build {name} with {dict(arguments)}: {_line(error)}",
                hint="see the arguments in its documentation",
            ) from error
        except Exception as error:  # a server's, a file's, whatever the library raises
            if not weights:
                raise
            raise WeightsError(
                f"{self.package} cannot get the weights of {name}: {_line(error)}",
                hint="`weights` FILE.safetensors or FILE.pth takes a file; random needs none",
            ) from error


def notes(reference: Reference) -> list[str]:
    """Return what of a preparation cannot be said: a few of timm's crop what they stretched."""
    if reference.library != "timm":
        return []
    config = library(reference).open().get_pretrained_cfg(reference.function)
    if config.crop_mode == "center" or (config.crop_mode == "squash" and config.crop_pct == 1.0):
        return []
    return [
        f"timm prepares images for {reference.function} by {config.crop_mode} and a crop of"
        f" {config.crop_pct:g}; here they are stretched"
    ]


def library(reference: Reference) -> Library:
    """Return the row of a reference's library."""
    return _ROWS[str(reference.library)]


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


# -- timm --------------------------------------------------------------------------------------------------


def _timm_row(timm: ModuleType, name: str) -> Architecture:
    if not timm.is_model(name):
        raise UnknownNameError(
            f"timm knows no network {name!r}", hint=_near(name, timm.list_models(), "timm.list_models()")
        )
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a tag that it does not know
        config = None
    if config is None:
        raise UnknownNameError(
            f"timm knows no such weights of {name!r}", hint="leave out what follows the dot"
        )
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = data["input_size"]
    return Architecture(
        f"timm:{name}",
        "timm",
        0,
        str(config.paper_ids or ""),
        "",
        min(height, width),
        _prepared(
            data["crop_pct"],
            data["interpolation"],
            data["mean"],
            data["std"],
            channels,
            (height, width),
            "crop" if data["crop_mode"] == "center" else "stretch",
        ),
        num_classes=config.num_classes or 0,
        labels="imagenet" if config.num_classes == 1000 else "",
        imagenet=config.hf_hub_id or config.url or None,
    )


def _timm(timm: ModuleType, name: str, weights: bool, arguments: Mapping[str, Any]) -> Any:
    return timm.create_model(name, pretrained=weights, **arguments)


# -- torchvision -------------------------------------------------------------------------------------------


def _torchvision_row(torchvision: ModuleType, name: str) -> Architecture:
    models = torchvision.models
    if name not in models.list_models():
        hint = _near(name, models.list_models(), "torchvision.models.list_models()")
        raise UnknownNameError(f"torchvision knows no network {name!r}", hint=hint)
    known = getattr(models.get_model_weights(name), "DEFAULT", None)
    labels = tuple(known.meta.get("categories", ())) if known else ()
    prepared = known.transforms() if known else None
    resized, cropped = (getattr(prepared, key, None) or [None] for key in ("resize_size", "crop_size"))
    side = cropped[0] or resized[0] or 224
    mode = getattr(prepared, "interpolation", None)
    # Detectors do it themselves.
    mean, std = (getattr(prepared, key, (float(key == "std"),) * 3) for key in ("mean", "std"))
    return Architecture(
        f"torchvision:{name}",
        "torchvision",
        0,
        "",
        "",
        side,
        _prepared(
            side / resized[0] if resized[0] else 1.0,
            mode.value if mode else "bilinear",
            mean,
            std,
            3,
            (side, side),
        ),
        num_classes=len(labels),
        labels="imagenet" if len(labels) == 1000 else labels,
        imagenet=known.url if known else None,
    )


def _torchvision(torchvision: ModuleType, name: str, weights: bool, arguments: Mapping[str, Any]) -> Any:
    models = torchvision.models
    takes = inspect.signature(models.get_model_builder(name)).parameters
    backbone = {"weights_backbone": None} if "weights_backbone" in takes else {}
    chosen = models.get_model_weights(name).DEFAULT if weights else None
    return models.get_model(name, weights=chosen, **backbone, **arguments)


_ROWS = {
    row.package: row
    for row in (
        Library("timm", _timm_row, _timm, in_channels="in_chans"),
        Library("torchvision", _torchvision_row, _torchvision),
    )
}


def _near(name: str, known: list[str], every: str) -> str:
    hint = suggest(name, known)
    return hint if hint.startswith("did") else f"{every} lists them"


def _prepared(
    crop: float,
    interpolation: str,
    mean: Any,
    std: Any,
    channels: int,
    size: tuple[int, int],
    fit: str = "crop",
) -> Preprocessing:
    """Return the preparation that a library states."""
    numbers = (tuple(float(value) for value in values) for values in (mean, std))
    mean, std = numbers
    prepared = Preprocessing(fit=fit, crop=min(1.0, crop), interpolation=interpolation, mean=mean, std=std)
    return prepared.at(size).with_channels(channels)
