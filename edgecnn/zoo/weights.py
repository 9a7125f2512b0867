"""Weights from a file, a package or the Hugging Face hub. Nothing that could run code is unpickled."""

from __future__ import annotations

import os
import pickle
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgecnn import files
from edgecnn.errors import EdgecnnWarning, WeightsError
from edgecnn.lazy import package_folder, require

if TYPE_CHECKING:
    from edgecnn.zoo.architecture import Architecture

#: Keys under which training loops put the weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that was found: where, and what `--weights` called it."""

    source: str
    path: Path

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return files.sha256(self.path)


def load_weights(network: nn.Module, row: Architecture, source: str) -> Checkpoint:
    """Load "imagenet", a .safetensors or .pth file, or "hf:OWNER/REPO" into `network`, strictly.

    Where the network was asked for with another number of input channels or classes than its
    reference, the checkpoint's first layer is adapted and its classifier left as initialised; an
    EdgecnnWarning says so. Raises WeightsError: no such file, a pickle that would run code, a
    checkpoint of another network (naming the first keys and shapes), no known ImageNet weights.
    """
    checkpoint = find(row, source)
    state = read_state(checkpoint.path)
    if source == "imagenet" and row.imagenet and row.imagenet.startswith("package:"):
        state = _rename_in_order(network, state)
    own = network.state_dict()
    stem, classifier = _adapted_stem(network, row, own, state), _kept_classifier(row, own, state)
    # Counters of batches, which checkpoints older than PyTorch 0.4.1 and converted ones lack.
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    fitted = {**counters, **state, **stem, **classifier}
    _check_fit(own, fitted, checkpoint)
    network.load_state_dict(fitted, strict=True)
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
    if first not in state or state[first].shape[1] != row.in_channels:
        return {}
    wanted, given = own[first].shape[1], state[first].shape[1]
    if wanted == given:
        return {}
    cycled = state[first][:, torch.arange(wanted) % given]
    scale = state[first].sum(1, keepdim=True).norm() / cycled.sum(1, keepdim=True).norm().clamp_min(1e-12)
    adapted = state[first].sum(1, keepdim=True) if wanted == 1 else cycled * scale
    return {first: adapted}


def _kept_classifier(
    row: Architecture, own: dict[str, Tensor], state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the network's own tensors where only the number of classes differs from the checkpoint's."""
    return {
        key: value
        for key, value in own.items()
        if key in state
        and state[key].shape != value.shape
        and state[key].shape[1:] == value.shape[1:]
        and state[key].shape[:1] == (row.num_classes,)
    }


def _warn(message: str) -> None:
    warnings.warn(message, EdgecnnWarning, stacklevel=3)


def find(row: Architecture, source: str) -> Checkpoint:
    """Return the checkpoint file that `source` names, downloading it if it lies on the hub."""
    where = source
    if source == "imagenet":
        if row.imagenet is None:
            raise WeightsError(
                f"no ImageNet weights are known for {row.name}",
                hint="give a checkpoint: --weights FILE.safetensors, FILE.pth or hf:OWNER/REPO",
            )
        where = row.imagenet
    if where.startswith("package:"):
        folder = package_folder(where.removeprefix("package:"), f"--weights imagenet for {row.name}")
        return Checkpoint(source, next(folder.rglob("*.pth")))
    if where.startswith("hf:"):
        return Checkpoint(where, _download(where.removeprefix("hf:")))
    path = Path(where)
    if not path.is_file():
        raise WeightsError(
            f"there is no checkpoint {where}",
            hint="--weights takes random, imagenet, a .safetensors or .pth file, or hf:OWNER/REPO",
        )
    return Checkpoint(where, path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pth file. A .pth is read with `weights_only=True`."""
    if path.suffix == ".safetensors":
        safetensors = require("safetensors.torch", "reading a .safetensors file")
        try:
            return dict(safetensors.load_file(path))
        except Exception as error:  # SafetensorError and OSError; the library exports no common base
            raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol, which decides nothing here
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors: loading it could run code, so it was not loaded",
            hint="save only the weights: torch.save(model.state_dict(), ...), or safetensors",
        ) from error
    except Exception as error:  # a restricted unpickler fed with rubbish raises anything
        raise WeightsError(f"{path} is not a readable PyTorch checkpoint", hint="copy it again") from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} is not a state dictionary", hint="save model.state_dict()")
    return content


def _download(name: str) -> Path:
    hub = require("huggingface_hub", f"--weights hf:{name}")
    errors = require("huggingface_hub.errors", f"--weights hf:{name}")
    for file in _HUB_FILES:
        try:
            return Path(hub.hf_hub_download(name, file))
        except errors.RemoteEntryNotFoundError:
            continue
        except (errors.EntryNotFoundError, errors.HfHubHTTPError, OSError, ValueError) as error:
            endpoint = os.environ.get("HF_ENDPOINT", "the Hugging Face hub")
            reason = textwrap.shorten(str(error), 160, placeholder=" ...")
            raise WeightsError(
                f"cannot get hf:{name} from {endpoint}: {reason}",
                hint="check the name and the network; HF_ENDPOINT and HF_HOME are respected",
            ) from error
    raise WeightsError(
        f"hf:{name} has none of {', '.join(_HUB_FILES)}", hint="download the file and give its path"
    )


def _rename_in_order(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a checkpoint with other names this network's: both list the layers in order.

    Shapes are checked afterwards, tensor by tensor, as for any checkpoint.
    """
    names = list(network.state_dict())
    if len(names) != len(state):
        return state
    return dict(zip(names, state.values(), strict=True))


def _check_fit(own: dict[str, Tensor], state: dict[str, Tensor], checkpoint: Checkpoint) -> None:
    missing = [key for key in own if key not in state]
    surplus = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    found = []
    if missing:
        found.append(f"lacks {_first(missing)}")
    if surplus:
        found.append(f"has unknown {_first(surplus)}")
    if shapes:
        found.append(_first(shapes))
    if found:
        raise WeightsError(
            f"{checkpoint.source} does not fit this network: it {'; '.join(found)}",
            hint="check the architecture, --alpha and the number of classes",
        )


def _first(items: list[str], shown: int = 2) -> str:
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
