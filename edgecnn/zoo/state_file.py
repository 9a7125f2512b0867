"""The tensors of a checkpoint file, whoever wrote it. Nothing that could run code is unpickled."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.errors import WeightsError
from edgecnn.optional_packages import require
from edgecnn.zoo import pickle_scan

#: Keys under which training loops put the weights, the likeliest first,
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network")
#: and their running average.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema")
#: How deep dictionaries of weights lie inside others.
_DEPTH = 4
#: Weights, gradients, an optimizer's two moments, an average, and room. Never less than the first, in bytes.
_LEAST_LIMIT, _COPIES = 1_000_000_000, 8


@dataclass(frozen=True)
class State:
    """The tensors of a checkpoint by name, and what there was to choose."""

    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def memory_limit(network: nn.Module) -> int:
    """Return how many bytes a checkpoint of this network may need: beyond, it is another's or does harm."""
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    return max(_LEAST_LIMIT, _COPIES * size)


def read_state(path: Path, most: int, part: str | None = None) -> State:
    """Return the tensors of a .safetensors or .pth file; `part` names one of several dictionaries in a .pth.

    Raises WeightsError: damaged, more than tensors in it, more than `most` bytes of memory, no such part.
    """
    content = _safetensors(path, most) if path.suffix == ".safetensors" else _pickled(path, most)
    notes: list[str] = []
    if part is not None:
        inner = content.get(part) if isinstance(content, dict) else None
        if not isinstance(inner, dict):
            parts = ", ".join(key for key, _ in _parts(content)) or "one state dictionary, without a name"
            raise WeightsError(f"{path} holds no weights called {part!r}", hint=f"it holds: {parts}")
        content = inner
    return State(_unwrap(path, content, notes), notes)


def _safetensors(path: Path, most: int) -> dict[str, Tensor]:
    safetensors = require("safetensors.torch", "reading a .safetensors file")
    pickle_scan.check_size(path, path.stat().st_size, most)
    try:
        return dict(safetensors.load_file(path))
    except Exception as error:  # SafetensorError and OSError; the library exports no common base
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error


def _pickled(path: Path, most: int) -> Any:
    try:
        pickle_scan.check(path, most)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol, which decides nothing here
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors: loading it could run code, so it was not loaded",
            hint="save only the weights: torch.save(model.state_dict(), ...), or safetensors",
        ) from error
    except Exception as error:  # a restricted unpickler fed with rubbish raises anything
        raise WeightsError(f"{path} is not a readable PyTorch checkpoint", hint=_remedy(path)) from error


def _remedy(path: Path) -> str:
    return f"edgecnn quantize {path} takes ONNX files" if path.suffix == ".onnx" else "copy it again"


def _unwrap(path: Path, content: Any, notes: list[str]) -> dict[str, Tensor]:
    """Return the state dictionary in what was saved: itself, or one of the dictionaries in it."""
    if _is_state(content):
        return dict(content)
    parts = list(_parts(content))
    if not parts:
        raise WeightsError(f"{path} is not a state dictionary", hint="save model.state_dict()")
    known = [key for key in (*_PLAIN, *_AVERAGED) if key in dict(parts)]
    if not known and len(parts) > 1:
        raise WeightsError(
            f"{path} holds several networks' weights: {', '.join(key for key, _ in parts[:6])}",
            hint=f"name one: {path}#{parts[0][0]}",
        )
    chosen = known[0] if known else parts[0][0]
    averaged = [key for key in known if key in _AVERAGED and key != chosen]
    if averaged:
        notes.append(
            f"{chosen} was loaded; {path.name} also holds averaged weights, which are often the better ones:"
            f" `weights` {path}#{averaged[0]} loads those"
        )
    elif chosen not in _PLAIN:
        notes.append(f"the weights are those under {chosen} in {path.name}")
    return _unwrap(path, dict(parts)[chosen], notes)


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )


def _parts(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of what was saved that hold weights."""
    if isinstance(content, dict):
        seen: dict[int, bool] = {}
        for key, value in content.items():
            if isinstance(key, str) and _holds_state(value, seen):
                yield key, value


def _holds_state(value: Any, seen: dict[int, bool], depth: int = 1) -> bool:
    """Return whether a state dictionary is in `value`; each object is looked at once."""
    if not isinstance(value, dict) or not value or depth > _DEPTH:
        return False
    if id(value) not in seen:
        seen[id(value)] = False  # while it is looked into: it may hold itself
        inner = (_holds_state(item, seen, depth + 1) for key, item in value.items() if isinstance(key, str))
        seen[id(value)] = _is_state(value) or any(inner)
    return seen[id(value)]
