"""AlexNet: the original (Krizhevsky, Sutskever, Hinton 2012) and the one of "One Weird Trick" (2014).

State-dict keys: torchvision's `alexnet` for the second; the first keeps that layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.blocks import AdaptivePool, LocalResponseNorm
from edgecnn.zoo.width import scale


def response_norm() -> LocalResponseNorm:
    """Return the normalization of section 3.3 of the 2012 paper: k 2, n 5, alpha 1e-4, beta 0.75.

    The paper multiplies the plain sum of squares by alpha, PyTorch and ONNX their mean over n.
    """
    return LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def three_linear(channels: int, size: Sequence[int], hidden: int, num_classes: int) -> nn.Sequential:
    """Return the classifier of the 2012 paper: two hidden layers after dropout of one half, and logits.

    It takes (N, channels * height * width), of `size`. Raises InvalidValueError if the maps have shrunk to
    nothing.
    """
    if min(size) < 1:
        raise InvalidValueError(
            "the input is too small: the last pooling leaves nothing of it", hint="give a higher resolution"
        )
    return nn.Sequential(
        nn.Dropout(0.5), nn.Linear(channels * size[0] * size[1], hidden), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip


class AlexNet(nn.Module):
    """Figure 2 of the 2012 paper: five convolutions, three of them in two groups; (N, C, 227, 227) in.

    The groups are the halves that the authors kept on two GPUs. Pooling windows overlap (section 3.4).
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, hidden = (scale(wanted, alpha) for wanted in (96, 256, 384, 384, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, 11, 4), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(c1, c2, 5, padding=2, groups=2), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1, groups=2), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        sides = [(side - 11) // 4 + 1 for side in Size.of(resolution)]
        for _ in range(3):
            sides = [(side - 3) // 2 + 1 for side in sides]
        self.classifier = three_linear(c5, sides, hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 227, 227) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))


class AlexNetOneTrick(nn.Module):
    """The one-column network of the 2014 paper, as torchvision has it: no groups, no normalization."""

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, hidden = (scale(wanted, alpha) for wanted in (64, 192, 384, 256, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = AdaptivePool(6)
        self.classifier = three_linear(c5, (6, 6), hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet(*, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> AlexNet:
    """Build the original AlexNet: 60,965,224 parameters at alpha 1 and a resolution of 227."""
    return AlexNet(alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution)


def alexnet_owt(*, alpha: float, num_classes: int, in_channels: int) -> AlexNetOneTrick:
    """Build the AlexNet of 2014: 61,100,840 parameters at alpha 1."""
    return AlexNetOneTrick(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
