"""ConvNeXt (Liu et al. 2022, "A ConvNet for the 2020s").

State-dict keys: timm's `convnext_tiny`, `convnext_small` and `convnext_base`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import StochasticDepth
from edgecnn.zoo.width import scale

_EPS = 1e-6


def _normalize(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalize the channels of each pixel of (N, C, H, W)."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stem(nn.Sequential):
    """Patches of 4x4 pixels, normalized."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 4, 4), nn.LayerNorm(outputs, eps=_EPS))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 4, W / 4)."""
        return _normalize(self[1], self[0](x))


class Downsample(nn.Sequential):
    """A 2x2 convolution with stride 2 of what is normalized."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.LayerNorm(inputs, eps=_EPS), nn.Conv2d(inputs, outputs, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        return self[1](_normalize(self[0], x))


class Perceptron(nn.Module):
    """Two linear layers with GELU between, four times as wide inside, on the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """A 7x7 depthwise convolution and a perceptron per pixel, scaled channel by channel (figure 4, right)."""

    def __init__(self, channels: int, drop: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = Perceptron(channels)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.drop_path = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + self.drop_path((self.gamma * out).permute(0, 3, 1, 2))


class Stage(nn.Module):
    """A normalized 2x2 convolution that halves the image, but in the first stage, and the blocks."""

    def __init__(self, inputs: int, outputs: int, drops: list[float]) -> None:
        super().__init__()
        self.downsample = nn.Identity() if inputs == outputs else Downsample(inputs, outputs)
        self.blocks = nn.Sequential(*(Block(outputs, drop) for drop in drops))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2), or to the same size in the first stage."""
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """A stem of 4x4 patches, four stages, global pooling, normalization and one linear layer."""

    def __init__(
        self,
        *,
        width: int,
        layers: tuple[int, int, int, int],
        drop: float,
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        widths = [scale(width, alpha) * 2**stage for stage in range(4)]
        channels = widths[0]
        self.stem = Stem(in_channels, channels)
        stages, number = [], 0
        for outputs, blocks in zip(widths, layers, strict=True):
            # Stochastic depth grows linearly to its last value (table 5).
            drops = [drop * (number + index) / (sum(layers) - 1) for index in range(blocks)]
            stages.append(Stage(channels, outputs, drops))
            channels, number = outputs, number + blocks
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential()
        self.head.add_module("global_pool", nn.AdaptiveAvgPool2d(1))
        self.head.add_module("flatten", nn.Flatten())
        self.head.add_module("norm", nn.LayerNorm(channels, eps=_EPS))
        self.head.add_module("fc", nn.Linear(channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.head(self.stages(self.stem(x)))

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw linear layers and convolutions as the paper (a normal of deviation 0.02, appendix A.1).

        The scale of a block starts at 0.1, not at the paper's 1e-6, with which an untrained network would
        be its stem and three convolutions: an export of it would show nothing of the blocks.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
            elif isinstance(module, Block):
                nn.init.constant_(module.gamma, 0.1)


def convnext(
    *,
    width: int,
    layers: tuple[int, int, int, int],
    drop: float,
    alpha: float,
    num_classes: int,
    in_channels: int,
) -> ConvNeXt:
    """Build ConvNeXt with `width` channels in its first stage; alpha scales every layer."""
    return ConvNeXt(
        width=width, layers=layers, drop=drop, alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )
