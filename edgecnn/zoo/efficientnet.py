"""EfficientNet (Tan and Le 2019), and EfficientNet-Lite: without squeeze-and-excitation, with ReLU6.

State-dict keys: torchvision's `efficientnet_b0` to `b7`, timm's `tf_efficientnet_lite0` to `lite4`. The
Lite networks pad as TensorFlow does (SAME) and add 0.001 to the variance, as in the published weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, SqueezeExcitation, StochasticDepth, conv_same
from edgecnn.zoo.compound import compound
from edgecnn.zoo.width import scale

_EPS = 1e-3

#: Table 1 of the paper: (expansion, kernel, channels, layers, stride of the first layer) per stage.
STAGES = (
    (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
)  # fmt: skip


def _bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS)


class DepthwiseSeparable(nn.Module):
    """The first stage: a depthwise and a linear pointwise convolution, no expansion."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = conv_same(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = _bn(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = _bn(outputs)
        self.act = nn.ReLU6()
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))
        return x + out if self.residual else out


class InvertedResidual(nn.Module):
    """MobileNetV2's block with any kernel size: expand, filter depthwise, project linearly."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv_pw = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = _bn(hidden)
        self.conv_dw = conv_same(hidden, hidden, kernel, stride, groups=hidden)
        self.bn2 = _bn(hidden)
        self.conv_pwl = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = _bn(outputs)
        self.act = nn.ReLU6()
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.act(self.bn1(self.conv_pw(x)))
        out = self.bn3(self.conv_pwl(self.act(self.bn2(self.conv_dw(out)))))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """Scaled by width and depth; stem, head and the number of layers of the end stages are not scaled."""

    def __init__(
        self, *, width: float, depth: float, alpha: float, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        channels = scale(32, alpha)
        self.conv_stem = conv_same(in_channels, channels, 3, 2)
        self.bn1 = _bn(channels)
        self.act = nn.ReLU6()
        stages = []
        for number, (expansion, kernel, wanted, layers, stride) in enumerate(STAGES):
            outputs = scale(scale(wanted, width), alpha)
            repeats = layers if number in (0, len(STAGES) - 1) else math.ceil(layers * depth)
            blocks: list[nn.Module] = []
            for index in range(repeats):
                step = stride if index == 0 else 1
                if expansion == 1:
                    blocks.append(DepthwiseSeparable(channels, outputs, kernel, step))
                else:
                    blocks.append(InvertedResidual(channels, outputs, kernel, step, expansion))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        head = scale(1280, alpha)
        self.conv_head = nn.Conv2d(channels, head, 1, bias=False)
        self.bn2 = _bn(head)
        self.global_pool = GlobalPool()
        self.drop = nn.Dropout(0.2 if depth < 1.4 else 0.3)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        x = self.global_pool(self.act(self.bn2(self.conv_head(x))))
        return self.classifier(self.drop(x))


def efficientnet_lite(
    *, width: float, depth: float, alpha: float, num_classes: int, in_channels: int
) -> EfficientNetLite:
    """Build an EfficientNet-Lite with compound `width` and `depth`; alpha scales every layer on top."""
    return EfficientNetLite(
        width=width, depth=depth, alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )


class MBConv(nn.Module):
    """An inverted residual block with squeeze-and-excitation and SiLU (section 4 of the paper)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expansion: int,
        drop: float,
        norm: Callable[[int], nn.BatchNorm2d],
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [_conv_norm(inputs, hidden, 1, 1, norm)] if expansion != 1 else []
        self.block = nn.Sequential(
            *expand,
            _conv_norm(hidden, hidden, kernel, stride, norm, groups=hidden),
            # The squeezed channels are a quarter of the block's, not of the expanded ones.
            SqueezeExcitation(hidden, max(1, inputs // 4), act=nn.SiLU),
            _conv_norm(hidden, outputs, 1, 1, norm, act=False),
        )
        self.stochastic_depth = StochasticDepth(drop)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return x + self.stochastic_depth(self.block(x)) if self.residual else self.block(x)


def _conv_norm(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    norm: Callable[[int], nn.BatchNorm2d],
    groups: int = 1,
    act: bool = True,
) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(outputs), *([nn.SiLU()] if act else []))


class EfficientNet(nn.Module):
    """Table 1 of the paper, scaled by width and depth, stem and head included."""

    def __init__(
        self,
        *,
        width: float,
        depth: float,
        dropout: float,
        norm: Callable[[int], nn.BatchNorm2d],
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        channels = scale(scale(32, width), alpha)
        layers: list[nn.Module] = [_conv_norm(in_channels, channels, 3, 2, norm)]
        total = sum(math.ceil(repeats * depth) for *_, repeats, _ in STAGES)
        number = 0
        for expansion, kernel, wanted, repeats, stride in STAGES:
            outputs = scale(scale(wanted, width), alpha)
            blocks = []
            for index in range(math.ceil(repeats * depth)):
                # Stochastic depth: a survival probability of 0.8 at the end (section 5.2), 1 at the start.
                drop, step = 0.2 * number / total, stride if index == 0 else 1
                blocks.append(MBConv(channels, outputs, kernel, step, expansion, drop, norm))
                channels = outputs
                number += 1
            layers.append(nn.Sequential(*blocks))
        head = scale(4 * scale(320, width), alpha)
        layers.append(_conv_norm(channels, head, 1, 1, norm))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(head, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def efficientnet_b(
    *,
    width: float,
    depth: float,
    dropout: float,
    alpha: float,
    num_classes: int,
    in_channels: int,
    tensorflow_norm: bool = False,
) -> EfficientNet:
    """Build EfficientNet-B0 to B7 by the published coefficients; alpha scales every layer on top.

    `tensorflow_norm`: batch normalization as in the weights of B5 to B7, which were trained elsewhere.
    """
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01) if tensorflow_norm else nn.BatchNorm2d
    return EfficientNet(
        width=width, depth=depth, dropout=dropout, norm=norm,
        alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip


def efficientnet(*, phi: float, alpha: float, num_classes: int, in_channels: int) -> EfficientNet:
    """Build the network that compound scaling makes of B0 for a real-valued `phi`; phi 0 is B0.

    The published B1 to B7 have rounded coefficients, not those of a whole phi. Dropout grows linearly
    from B0's 0.2 to B7's 0.5 (section 5.2), taking phi 7 for B7. Raises InvalidValueError as `compound`.
    """
    depth, width, _ = compound(phi)
    dropout = min(max(0.2 + 0.3 * phi / 7, 0.0), 0.5)
    return efficientnet_b(
        width=width, depth=depth, dropout=dropout,
        alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip
