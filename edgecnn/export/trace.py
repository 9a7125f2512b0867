"""From a PyTorch network to an ONNX graph whose nodes are named like the network's layers."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn

from edgecnn.errors import ParityError
from edgecnn.export.fold_batch_norm import fold_batch_norm

INPUT, OUTPUT = "input", "logits"
_SCOPES = "pkg.torch.onnx.name_scopes"


def trace(network: nn.Module, sample: Tensor, *, opset: int, batch: int | None) -> onnx.ModelProto:
    """Return the ONNX form of a network in evaluation mode; `sample` is (N, C, H, W).

    `batch` is the number of images that the graph takes at a time, or None for any number.
    Batch normalization is folded first: exact, and the tracer is then twice as fast.
    """
    free = ({0: torch.export.Dim("batch")},) if batch is None else None
    sample = sample[:2] if batch is None else sample[:1].expand(batch, -1, -1, -1).contiguous()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            fold_batch_norm(network),
            (sample,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=free,
            verbose=False,
        )
    if program is None:
        raise ParityError("PyTorch's exporter returned nothing")
    model: onnx.ModelProto = program.model_proto
    _name_nodes(model)
    return model


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name each node by the module that it came from, and drop the exporter's notes (half a megabyte)."""
    used: dict[str, int] = {}
    for node in model.graph.node:
        scopes = next((item.value for item in node.metadata_props if item.key == _SCOPES), "[]")
        path = [name for name in re.findall(r"'([^']*)'", scopes)[:-1] if name and name[0] != "_"]
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
