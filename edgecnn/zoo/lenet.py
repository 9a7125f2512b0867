"""The network of 1989 and LeNet-5.

LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition";
LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.width import scale


class ScaledTanh(nn.Module):
    """The squashing function 1.7159 tanh(2x / 3), which maps 1 to 1 and -1 to -1."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape, values within 1.7159 of zero."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class UnitBiasConv(nn.Module):
    """A 5x5 convolution with stride 2 whose units share weights within a map, but each have a bias.

    What lies beyond the border is background: -1, as is a black pixel.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 5, 2, groups=groups, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs, *size))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, *size), sides that are halves of those, rounded up."""
        return self.conv(F.pad(x, (2, 2, 2, 2), value=-1.0)) + self.bias


def _halved(size: Size) -> Size:
    return Size(*(-(-side // 2) for side in size))


class LeNet1989(nn.Module):
    """Two strided convolutions H1 and H2, a hidden layer H3; (N, C, 16, 16) in.

    Each map of H2 reads 8 of the 12 maps of H1; the paper does not print which. Here H1 falls into
    three thirds, and each third of H2 reads two of them, so that all maps are read equally often.
    The paper squashes the outputs too, for its squared error; logits are their weighted sums.
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> None:
        super().__init__()
        h1, h2 = scale(12, alpha, divisor=3), scale(12, alpha, divisor=3)
        h3 = scale(30, alpha, divisor=1)
        half = _halved(Size.of(resolution))
        quarter = _halved(half)
        self.h1 = UnitBiasConv(in_channels, h1, half)
        self.h2 = UnitBiasConv(2 * h1, h2, quarter, groups=3)
        self.h3 = nn.Linear(h2 * quarter.pixels, h3)
        self.output = nn.Linear(h3, num_classes)
        self.act = ScaledTanh()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 16, 16) to logits (N, classes)."""
        first, second, third = self.act(self.h1(x)).chunk(3, 1)
        x = self.act(self.h2(torch.cat([first, second, second, third, third, first], 1)))
        return self.output(self.act(self.h3(torch.flatten(x, 1))))

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw weights as the paper does: uniform within 2.4 / fan-in of zero."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = 2.4 / module.weight[0].numel()
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)


class LeNet5(nn.Module):
    """Convolution, pooling, convolution, pooling, three linear layers; tanh; (N, C, 32, 32) in.

    C3 reads all six maps of S2 instead of the paper's partial table, and pooling is the plain average.
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> None:
        super().__init__()
        # The paper's layers are narrower than 8 channels: rounding to 8 would widen them.
        c1, c3, f5, f6 = (scale(channels, alpha, divisor=1) for channels in (6, 16, 120, 84))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(c1, c3, 5), nn.Tanh(), nn.AvgPool2d(2),
        )  # fmt: skip
        height, width = (((side - 4) // 2 - 4) // 2 for side in Size.of(resolution))
        self.classifier = nn.Sequential(
            nn.Linear(c3 * height * width, f5), nn.Tanh(),
            nn.Linear(f5, f6), nn.Tanh(),
            nn.Linear(f6, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 32, 32) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))


def lenet_1989(*, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> LeNet1989:
    """Build the network of 1989: 9,760 parameters at alpha 1 and a resolution of 16."""
    return LeNet1989(alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution)


def lenet5(*, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> LeNet5:
    """Build LeNet-5: 61,706 parameters at alpha 1 and a resolution of 32."""
    return LeNet5(alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution)
