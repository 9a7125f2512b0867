"""From a PyTorch network to an ONNX graph whose nodes are named like the network's layers."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence

import onnx
import torch
from torch import Tensor, nn

from edgecnn.errors import CodeError, ParityError
from edgecnn.export.fold_batch_norm import fold_batch_norm
from edgecnn.zoo import code_errors
from edgecnn.zoo.network_outputs import LOGITS, WRAPPED, OnlyTensors

INPUT = "input"
_SCOPES = "pkg.torch.onnx.name_scopes"


def trace(
    network: nn.Module,
    sample: Tensor,
    *,
    opset: int,
    batch: int | None,
    outputs: Sequence[str] = (LOGITS,),
    fold: bool = True,
) -> onnx.ModelProto:
    """Return the ONNX form of a network in evaluation mode; `sample` is (N, C, H, W).

    `batch` is the number of images that the graph takes at a time, or None for any number. With `fold`
    batch normalization is folded first: the tracer is then twice as fast, and it is exact where the code of
    the network is the zoo's. `outputs` are the names of what it gives, see `network_outputs.named`.

    Raises CodeError for a network that cannot be traced.
    """
    sample = sample[:2] if batch is None else sample[:1].expand(batch, -1, -1, -1).contiguous()
    traced = fold_batch_norm(network) if fold else network
    if tuple(outputs) != (LOGITS,):
        traced = OnlyTensors(traced).eval()
    with _quiet(), torch.no_grad(), _traceable(batch):
        program = torch.onnx.export(
            traced,
            (sample,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},) if batch is None else None,
            verbose=False,
        )
    if program is None:
        raise ParityError("PyTorch's exporter returned nothing")
    model: onnx.ModelProto = program.model_proto
    _name_nodes(model)
    return model


@contextlib.contextmanager
def _traceable(batch: int | None) -> Iterator[None]:
    """Turn what PyTorch's exporter says of a network into one line."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        place = code_errors.where(cause) or code_errors.where(error)
        said = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise CodeError(
            f"PyTorch cannot trace this network{f' at {place}' if place else ''}: {said.strip()[:300]}",
            hint="`batch` 1 fixes the number of images, if it is that"
            if batch is None
            else "a network that is traced has no branches that depend on the values of the image",
        ) from error


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name each node by the module that it came from, and drop the exporter's notes (half a megabyte)."""
    used: dict[str, int] = {}
    for node in model.graph.node:
        scopes = next((item.value for item in node.metadata_props if item.key == _SCOPES), "[]")
        scope = [name.removeprefix(WRAPPED).lstrip(".") for name in re.findall(r"'([^']*)'", scopes)[:-1]]
        path = [name for name in scope if name and name[0] != "_"]
        name = path[-1] if path else node.op_type.lower()
        count = used[name] = used.get(name, 0) + 1
        node.name = name if count == 1 else f"{name}_{count}"
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to itself off the terminal: torchvision's absence, pytree warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
