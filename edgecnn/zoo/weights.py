"""Weights from a file, a package or the Hugging Face hub, fitted into a network strictly."""

from __future__ import annotations

import os
import textwrap
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgecnn import files
from edgecnn.errors import EdgecnnWarning, WeightsError
from edgecnn.optional_packages import install_command, package_folder
from edgecnn.progress import silent
from edgecnn.zoo import hub, reparameterize, torchvision_files
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.state_file import memory_limit, read_state
from edgecnn.zoo.state_names import match

if TYPE_CHECKING:
    from edgecnn.zoo.architecture import Architecture


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that was found: where, and what `--weights` called it."""

    source: str
    path: Path
    #: Which of several dictionaries in the file: FILE#PART.
    part: str | None = None
    #: Where it lies on the hub, with the commit: "hf:OWNER/REPO@COMMIT".
    pinned: str | None = None
    #: Whether it is of the backbone alone: a classifier's, for a network with another head.
    backbone: bool = False

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return files.sha256(self.path)

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage says of it: enough to find the very same again."""
        pinned = {"pinned": self.pinned} if self.pinned else {}
        return {"source": self.source, **pinned, "sha256": self.sha256}


def load_weights(network: nn.Module, row: Architecture, source: str | Checkpoint) -> Checkpoint:
    """Load "imagenet", "coco", a .safetensors or .pth file, or "hf:OWNER/REPO" into `network`, strictly.

    FILE#PART takes one of several dictionaries in a .pth, hf:OWNER/REPO@REVISION a branch, tag or commit.

    A checkpoint of the folded form of a network with branches (`reparameterize`) folds `network`.

    Where the network was asked for with another number of input channels or classes than its
    reference, the checkpoint's first layer is adapted and its classifier left as initialised; an
    EdgecnnWarning says so. Raises WeightsError: no such file, a pickle that would run code, a
    checkpoint of another network (naming the first keys and shapes), no known ImageNet weights.
    """
    checkpoint = find(row, source) if isinstance(source, str) else source
    read = read_state(checkpoint.path, memory_limit(network), checkpoint.part)
    for note in read.notes:
        _warn(note)
    if reparameterize.is_folded(read.tensors):
        reparameterize.fold(network)
    # The catalogue's own files are known to fit, whatever their names.
    tell = silent if checkpoint.source in ("imagenet", "coco") else _warn
    state = match(network, read.tensors, checkpoint.source, tell)
    own = network.state_dict()
    stem, classifier = _adapted_stem(network, row, own, state), _kept_classifier(network, row, own, state)
    # Counters of batches, which checkpoints older than PyTorch 0.4.1 and converted ones lack.
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    fitted = {**counters, **state, **stem, **classifier}
    _check_fit(own, fitted, checkpoint)
    try:
        network.load_state_dict(fitted, strict=True)
    except RuntimeError as error:  # of a type that cannot be copied
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise WeightsError(f"{checkpoint.source} does not fit this network: {reason}") from error
    for key, value in stem.items():
        _warn(f"{key} was adapted from {state[key].shape[1]} to {value.shape[1]} input channels")
    if classifier:
        classes = next(iter(classifier.values())).shape[0]
        keys = ", ".join(classifier)
        _warn(f"the classifier ({keys}) starts anew: {classes} classes, not {row.num_classes}")
    return checkpoint


def _adapted_stem(
    network: nn.Module, row: Architecture, own: dict[str, Tensor], state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the checkpoint's first convolution for another number of input channels.

    The filters are repeated over the channels and scaled so that their sum, the answer to a uniform
    input, stays: one channel gets the sum of the three, as timm does it.
    """
    first = next((f"{name}.weight" for name, m in network.named_modules() if isinstance(m, nn.Conv2d)), "")
    if first not in state or state[first].ndim != 4 or state[first].shape[1] != row.in_channels:
        return {}
    wanted, given = own[first].shape[1], state[first].shape[1]
    if wanted == given or not state[first].is_floating_point():
        return {}
    filters = state[first].float()
    cycled = filters[:, torch.arange(wanted) % given]
    scale = filters.sum(1, keepdim=True).norm() / cycled.sum(1, keepdim=True).norm().clamp_min(1e-12)
    adapted = filters.sum(1, keepdim=True) if wanted == 1 else cycled * scale
    return {first: adapted}


def _kept_classifier(
    network: nn.Module, row: Architecture, own: dict[str, Tensor], state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the network's own tensors where only the number of classes differs from the checkpoint's.

    A network with a head says itself which layers give scores of classes; any other has one for each.
    """
    heads: tuple[str, ...] | None = getattr(network, "predictors", None)
    return {
        key: value
        for key, value in own.items()
        if key in state
        and state[key].shape != value.shape
        and state[key].shape[1:] == value.shape[1:]
        and (state[key].shape[:1] == (row.num_classes,) if heads is None else key.startswith(heads))
    }


def _warn(message: str) -> None:
    warnings.warn(message, EdgecnnWarning, stacklevel=3)


def find(row: Architecture, source: str) -> Checkpoint:
    """Return the checkpoint file that `source` names, downloading it if it lies on the hub.

    Raises WeightsError: no such file, or one of the catalogue's that is not what it was.
    """
    if source == "imagenet":
        return _imagenet(row)
    if source == "coco":
        return _known(row, "COCO", row.coco, None)
    if source.startswith("hf:"):
        return _from_hub(source, source)
    path, part = Path(source), None
    if not os.path.isfile(path) and "#" in source:
        before, _, part = source.rpartition("#")
        path = Path(before)
    if wrong := files.unlike_file(path, "a checkpoint"):
        raise WeightsError(
            f"the checkpoint {source[:200]} is {wrong}",
            hint="`weights` takes random, imagenet, coco, a .safetensors or .pth file, or hf:OWNER/REPO",
        )
    return Checkpoint(source, path, part)


def _imagenet(row: Architecture) -> Checkpoint:
    """Return the file of a classifier, or of a head's backbone."""
    backbone = row.arguments.get("backbone")
    if backbone is None:
        return _known(row, "ImageNet", row.imagenet, row.imagenet_sha256)
    return replace(_imagenet(architecture(backbone)), backbone=True)


def _known(row: Architecture, data: str, where: str | None, known: str | None) -> Checkpoint:
    """Return the file that the catalogue names, with the first digits of its hash if these are known."""
    source = data.lower()
    if where is None:
        raise WeightsError(
            f"no {data} weights are known for {row.name}",
            hint="give a checkpoint: `weights` FILE.safetensors, FILE.pth or hf:OWNER/REPO",
        )
    if where.startswith("package:"):
        module = where.removeprefix("package:")
        folder = package_folder(module, f"`weights` {source} for {row.name}")
        path = next(folder.rglob("*.pth"), None)
        if path is None:
            raise WeightsError(f"the package {module} holds no weights", hint=install_command(module))
        found = Checkpoint(source, path)
    elif where.startswith("torchvision:"):
        file = where.removeprefix("torchvision:")
        found, known = Checkpoint(source, torchvision_files.download(file)), torchvision_files.digits(file)
    else:
        found = _from_hub(where, where)
    if known is not None and not found.sha256.startswith(known):
        raise WeightsError(
            f"the {data} weights of {row.name} ({where}) are not those that edgecnn knows: their SHA-256 is"
            f" {found.sha256[:12]}..., not {known[:12]}...",
            hint=f"if they are the ones that you want: `weights` {found.path}",
        )
    return found


def _from_hub(source: str, where: str) -> Checkpoint:
    name = where.removeprefix("hf:")
    found = hub.download(name)
    pinned = f"hf:{name.partition('@')[0]}@{found.commit}" if found.commit else None
    return Checkpoint(source, found.path, pinned=pinned)


def _check_fit(own: dict[str, Tensor], state: dict[str, Tensor], checkpoint: Checkpoint) -> None:
    missing = [key for key in own if key not in state]
    surplus = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    shapes += [
        f"{key} is {str(state[key].dtype).removeprefix('torch.')}"
        for key in own
        if key in state and own[key].is_floating_point() and not state[key].is_floating_point()
    ]
    found = []
    if missing:
        found.append(f"lacks {_first(missing)}")
    if surplus:
        found.append(f"has unknown {_first(surplus)}")
    if shapes:
        found.append(f"says that {_first(shapes)}")
    if found:
        raise WeightsError(
            f"{checkpoint.source} does not fit this network: it {'; '.join(found)}",
            hint="check the architecture, `alpha` and the number of classes",
        )


def _first(items: list[str], shown: int = 2) -> str:
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
