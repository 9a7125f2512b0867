"""EfficientNetV2 (Tan and Le 2021, "EfficientNetV2: Smaller Models and Faster Training").

State-dict keys: timm's `tf_efficientnetv2_b0` to `b3`, `s`, `m` and `l`, which are the authors' weights:
padded as TensorFlow does (SAME), 0.001 added to the variance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import SqueezeExcitation, StochasticDepth, conv_same
from edgecnn.zoo.width import scale

_EPS = 1e-3

#: Stage by stage: (expansion, channels, layers, stride of the first layer); all kernels are 3x3.
Stages = tuple[tuple[int, int, int, int], ...]
#: Table 4 of the paper is "s"; the others are of the authors' code.
STAGES: dict[str, Stages] = {
    "b": (
        (1, 16, 1, 1), (4, 32, 2, 2), (4, 48, 2, 2), (4, 96, 3, 2), (6, 112, 5, 1), (6, 192, 8, 2),
    ),
    "s": (
        (1, 24, 2, 1), (4, 48, 4, 2), (4, 64, 4, 2), (4, 128, 6, 2), (6, 160, 9, 1), (6, 256, 15, 2),
    ),
    "m": (
        (1, 24, 3, 1), (4, 48, 5, 2), (4, 80, 5, 2), (4, 160, 7, 2), (6, 176, 14, 1), (6, 304, 18, 2),
        (6, 512, 5, 1),
    ),
    "l": (
        (1, 32, 4, 1), (4, 64, 7, 2), (4, 96, 7, 2), (4, 192, 10, 2), (6, 224, 19, 1), (6, 384, 25, 2),
        (6, 640, 7, 1),
    ),
}  # fmt: skip
#: Stages of fused blocks; the others have depthwise convolutions and squeeze-and-excitation.
FUSED = 3


def _bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS)


class ConvBlock(nn.Module):
    """The first stage: a 3x3 convolution with batch normalization, SiLU and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, drop: float) -> None:
        super().__init__()
        self.conv = conv_same(inputs, outputs, 3, stride)
        self.bn1 = _bn(outputs)
        self.act = nn.SiLU()
        self.drop_path = StochasticDepth(drop)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.act(self.bn1(self.conv(x)))
        return x + self.drop_path(out) if self.residual else out


class FusedMBConv(nn.Module):
    """MBConv whose expansion and depthwise convolution are one 3x3 convolution (figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv_exp = conv_same(inputs, hidden, 3, stride)
        self.bn1 = _bn(hidden)
        self.act = nn.SiLU()
        self.conv_pwl = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn2 = _bn(outputs)
        self.drop_path = StochasticDepth(drop)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.bn2(self.conv_pwl(self.act(self.bn1(self.conv_exp(x)))))
        return x + self.drop_path(out) if self.residual else out


class MBConv(nn.Module):
    """Expand, filter depthwise, squeeze and excite, project linearly."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv_pw = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = _bn(hidden)
        self.conv_dw = conv_same(hidden, hidden, 3, stride, groups=hidden)
        self.bn2 = _bn(hidden)
        # The squeezed channels are a quarter of the block's, not of the expanded ones.
        self.se = SqueezeExcitation(
            hidden, max(1, inputs // 4), act=nn.SiLU, names=("conv_reduce", "conv_expand")
        )
        self.conv_pwl = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = _bn(outputs)
        self.act = nn.SiLU()
        self.drop_path = StochasticDepth(drop)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.act(self.bn2(self.conv_dw(self.act(self.bn1(self.conv_pw(x))))))
        out = self.bn3(self.conv_pwl(self.se(out)))
        return x + self.drop_path(out) if self.residual else out


class EfficientNetV2(nn.Module):
    """A 3x3 stem, stages from a table, a 1x1 convolution, global pooling and one linear layer."""

    def __init__(
        self,
        stages: Stages,
        *,
        width: float,
        depth: float,
        dropout: float,
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        # The stem is as wide as the first stage, but in the small base networks, where it is twice that.
        stem = 32 if stages is STAGES["b"] else stages[0][1]
        channels = scale(_widened(stem, width), alpha)
        self.conv_stem = conv_same(in_channels, channels, 3, 2)
        self.bn1 = _bn(channels)
        self.act = nn.SiLU()
        total = sum(math.ceil(layers * depth) for *_, layers, _ in stages)
        modules, number = [], 0
        for at, (expansion, wanted, layers, stride) in enumerate(stages):
            outputs = scale(_widened(wanted, width), alpha)
            blocks: list[nn.Module] = []
            for index in range(math.ceil(layers * depth)):
                step, drop = stride if index == 0 else 1, 0.2 * number / total
                if expansion == 1:
                    blocks.append(ConvBlock(channels, outputs, step, drop))
                else:
                    block = FusedMBConv if at < FUSED else MBConv
                    blocks.append(block(channels, outputs, step, expansion, drop))
                channels, number = outputs, number + 1
            modules.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*modules)
        head = scale(_widened(1280, width), alpha)
        self.conv_head = nn.Conv2d(channels, head, 1, bias=False)
        self.bn2 = _bn(head)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(dropout)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        x = self.global_pool(self.act(self.bn2(self.conv_head(x))))
        return self.classifier(self.drop(torch.flatten(x, 1)))


def _widened(channels: int, width: float) -> int:
    """Return the nearest multiple of 8, as the authors' code has it for V2: it may be under 90 %."""
    return max(8, int(channels * width + 4) // 8 * 8)


def efficientnet_v2(
    *,
    size: str,
    dropout: float,
    alpha: float,
    num_classes: int,
    in_channels: int,
    width: float = 1.0,
    depth: float = 1.0,
) -> EfficientNetV2:
    """Build EfficientNetV2 of `size` s, m, l, or b with the coefficients of B0 to B3; alpha scales on top."""
    return EfficientNetV2(
        STAGES[size], width=width, depth=depth, dropout=dropout,
        alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip
