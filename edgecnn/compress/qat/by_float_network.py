"""What int8 training minimises: distance to the float outputs, and to the labels where one decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from edgecnn.compress.distill.objective import soft_targets
from edgecnn.compress.losses import cross_entropy
from edgecnn.compress.qat.graph_module import GraphModule

#: Share of the float network's answers in the loss of class scores, and how they are softened; the rest is
#: the labels'.
WEIGHT, TEMPERATURE = 0.9, 4.0


def deciding_output(outputs: Tensor | Mapping[str, Tensor], classes: int) -> str | None:
    """Return the name of the first output that is a row of a score for each class; None where none is.

    The only output has no name of its own: "" stands for it.
    """
    return next(
        (name for name, values in by_name(outputs).items() if tuple(values.shape[1:]) == (classes,)), None
    )


def by_name(outputs: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return outputs by their names; that of the only one is ""."""
    return {"": outputs} if isinstance(outputs, Tensor) else outputs


class ByFloatNetwork(nn.Module):
    """Sum over all outputs of how far each is from the float network's, which is the teacher.

    The class scores are those of `deciding`: soft targets, and cross entropy to the labels. Of any other
    output it is the root of noise over signal, as decibels count them: it is as large for an output of small
    values as for one of large values. None decides: labels have no part in it.
    """

    def __init__(
        self, model: onnx.ModelProto, constants: Mapping[str, Sequence[float]], deciding: str | None
    ) -> None:
        super().__init__()
        # In a list, so that it is neither trained nor saved.
        self._teacher = [GraphModule(model, constants=constants).eval().requires_grad_(False)]
        self._deciding = deciding

    def forward(self, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of images, (N, C, H, W), with target distributions, (N, classes)."""
        answers = by_name(network(images))
        with torch.no_grad():
            wanted = by_name(self._teacher[0].to(images.device)(images))
        losses = []
        for name, given in answers.items():
            if name == self._deciding:
                taught = soft_targets(given, wanted[name], TEMPERATURE)
                losses.append(WEIGHT * taught + (1 - WEIGHT) * cross_entropy(given, targets))
            else:
                losses.append(relative_error(given, wanted[name]))
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Return the root of the energy of the difference over the energy of what is wanted."""
    noise = (given.float() - wanted.float()).square().mean()
    return (noise / (wanted.float().square().mean() + 1e-12) + 1e-12).sqrt()
