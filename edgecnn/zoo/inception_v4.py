"""Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261).

State-dict keys: timm's. Figure numbers are the paper's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool
from edgecnn.zoo.inception import BasicConv2d, Kernel
from edgecnn.zoo.width import scale

#: How a convolution treats the border: padded to keep the size, unpadded ("V" in the figures), or
#: unpadded with stride 2.
SAME, VALID, HALVE = "same", "valid", "halve"
_ROW, _COLUMN = (1, 7), (7, 1)


class C(NamedTuple):
    """One convolution of a branch: channels at alpha 1, kernel, border."""

    channels: int
    kernel: Kernel
    border: str = SAME

    def build(self, inputs: int, alpha: float) -> BasicConv2d:
        """Return the layer."""
        stride = 2 if self.border == HALVE else 1
        outputs = scale(self.channels, alpha)
        return BasicConv2d(inputs, outputs, self.kernel, stride, padded=self.border == SAME)


#: What a branch does in turn: convolutions; "avg" is 3x3 pooling before one, "max" halves and is alone.
Steps = tuple[C | str, ...]
Branches = dict[str, Steps]


class Tower(nn.Sequential):
    """Layers one after the other, which know how many channels they put out."""

    def __init__(self, inputs: int, steps: Steps, alpha: float) -> None:
        super().__init__()
        self.outputs = inputs
        for index, step in enumerate(steps):
            layer: nn.Module
            if isinstance(step, str):
                layer = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            else:
                layer = step.build(self.outputs, alpha)
                self.outputs = layer.conv.out_channels
            self.add_module(str(index), layer)


def _tower(inputs: int, steps: Steps, alpha: float) -> tuple[nn.Module, int]:
    """Return a branch and its output channels; one of a single layer is that layer itself."""
    first = steps[0]
    if first == "max":
        return nn.MaxPool2d(3, 2), inputs
    if len(steps) == 1 and isinstance(first, C):
        conv = first.build(inputs, alpha)
        return conv, conv.conv.out_channels
    tower = Tower(inputs, steps, alpha)
    return tower, tower.outputs


class Mixed(nn.Module):
    """Branches side by side, concatenated in the order of their names' definition."""

    def __init__(self, inputs: int, branches: Branches, alpha: float) -> None:
        super().__init__()
        self.outputs = 0
        for name, steps in branches.items():
            branch, channels = _tower(inputs, steps, alpha)
            self.add_module(name, branch)
            self.outputs += channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return torch.cat([branch(x) for branch in self.children()], 1)


def _branches(*branches: Steps) -> Branches:
    return {f"branch{number}": steps for number, steps in enumerate(branches)}


#: Figure 3, the three places where the stem forks.
_STEM: tuple[Branches, ...] = (
    {"maxpool": ("max",), "conv": (C(96, 3, HALVE),)},
    _branches((C(64, 1), C(96, 3, VALID)), (C(64, 1), C(64, _ROW), C(64, _COLUMN), C(96, 3, VALID))),
    {"conv": (C(192, 3, HALVE),), "maxpool": ("max",)},
)
#: Figures 4 to 8.
_V4_A = _branches((C(96, 1),), (C(64, 1), C(96, 3)), (C(64, 1), C(96, 3), C(96, 3)), ("avg", C(96, 1)))
_REDUCTION_A = _branches((C(384, 3, HALVE),), (C(192, 1), C(224, 3), C(256, 3, HALVE)), ("max",))
_V4_B = _branches(
    (C(384, 1),),
    (C(192, 1), C(224, _ROW), C(256, _COLUMN)),
    (C(192, 1), C(192, _COLUMN), C(224, _ROW), C(224, _COLUMN), C(256, _ROW)),
    ("avg", C(128, 1)),
)
_REDUCTION_B = _branches(
    (C(192, 1), C(192, 3, HALVE)),
    (C(256, 1), C(256, _ROW), C(320, _COLUMN), C(320, 3, HALVE)),
    ("max",),
)


class InceptionC(nn.Module):
    """Figure 6: two of the four branches end in 1x3 and 3x1 side by side."""

    def __init__(self, inputs: int, alpha: float) -> None:
        super().__init__()
        c256, c384, c448, c512 = (scale(count, alpha) for count in (256, 384, 448, 512))
        self.branch0 = BasicConv2d(inputs, c256, 1)
        self.branch1_0 = BasicConv2d(inputs, c384, 1)
        self.branch1_1a = BasicConv2d(c384, c256, (1, 3))
        self.branch1_1b = BasicConv2d(c384, c256, (3, 1))
        self.branch2_0 = BasicConv2d(inputs, c384, 1)
        self.branch2_1 = BasicConv2d(c384, c448, (3, 1))
        self.branch2_2 = BasicConv2d(c448, c512, (1, 3))
        self.branch2_3a = BasicConv2d(c512, c256, (1, 3))
        self.branch2_3b = BasicConv2d(c512, c256, (3, 1))
        self.branch3 = Tower(inputs, ("avg", C(256, 1)), alpha)
        self.outputs = 6 * c256

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        first = self.branch1_0(x)
        second = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        parts = [self.branch0(x), self.branch1_1a(first), self.branch1_1b(first)]
        parts += [self.branch2_3a(second), self.branch2_3b(second), self.branch3(x)]
        return torch.cat(parts, 1)


class InceptionV4(nn.Module):
    """Figure 9: the stem, four blocks A, seven B and three C with reductions between; (N, C, 299, 299) in."""

    #: After the first three convolutions.
    BLOCKS: tuple[Branches, ...] = (*_STEM, *[_V4_A] * 4, _REDUCTION_A, *[_V4_B] * 7, _REDUCTION_B)

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        stem = Tower(in_channels, (C(32, 3, HALVE), C(32, 3, VALID), C(64, 3)), alpha)
        layers: list[nn.Module] = [*stem]
        channels = stem.outputs
        for branches in self.BLOCKS:
            block = Mixed(channels, branches, alpha)
            layers.append(block)
            channels = block.outputs
        for _ in range(3):
            last = InceptionC(channels, alpha)
            layers.append(last)
            channels = last.outputs
        self.features = nn.Sequential(*layers)
        self.global_pool = GlobalPool()
        self.head_drop = nn.Dropout(0.2)
        self.last_linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.last_linear(self.head_drop(self.global_pool(self.features(x))))


class ResidualInception(nn.Module):
    """Branches, a linear 1x1 to the input's width, and a shortcut (figures 16, 17, 19).

    The residual is multiplied by `factor` before it is added, without which wide networks die early in
    training (section 3.3).
    """

    def __init__(
        self,
        channels: int,
        branches: Branches,
        factor: float,
        alpha: float,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.names = list(branches)
        joined = 0
        for name, steps in branches.items():
            branch, outputs = _tower(channels, steps, alpha)
            self.add_module(name, branch)
            joined += outputs
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.act = nn.ReLU() if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        residual = self.conv2d(torch.cat([getattr(self, name)(x) for name in self.names], 1))
        return self.act(x + self.factor * residual)


_BLOCK_35 = _branches((C(32, 1),), (C(32, 1), C(32, 3)), (C(32, 1), C(48, 3), C(64, 3)))
_BLOCK_17 = _branches((C(192, 1),), (C(128, 1), C(160, _ROW), C(192, _COLUMN)))
_BLOCK_8 = _branches((C(192, 1),), (C(192, 1), C(224, (1, 3)), C(256, (3, 1))))
_MIXED_5B = _branches((C(96, 1),), (C(48, 1), C(64, 5)), (C(64, 1), C(96, 3), C(96, 3)), ("avg", C(64, 1)))
_MIXED_6A = _branches((C(384, 3, HALVE),), (C(256, 1), C(256, 3), C(384, 3, HALVE)), ("max",))
_MIXED_7A = _branches(
    (C(256, 1), C(384, 3, HALVE)),
    (C(256, 1), C(288, 3, HALVE)),
    (C(256, 1), C(288, 3), C(320, 3, HALVE)),
    ("max",),
)


class InceptionResNetV2(nn.Module):
    """Figure 15, in the form that its authors published weights for; (N, C, 299, 299) in.

    That form has Inception-v3's stem, a `mixed_5b`, and 10, 20 and 10 residual blocks instead of the
    paper's 5, 10 and 5.
    """

    #: Name, branches, number of residual blocks and factor of their residual; 0: one plain block.
    STAGES: tuple[tuple[str, Branches, int, float], ...] = (
        ("mixed_5b", _MIXED_5B, 0, 0), ("repeat", _BLOCK_35, 10, 0.17),
        ("mixed_6a", _MIXED_6A, 0, 0), ("repeat_1", _BLOCK_17, 20, 0.10),
        ("mixed_7a", _MIXED_7A, 0, 0), ("repeat_2", _BLOCK_8, 9, 0.20),
    )  # fmt: skip

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        c1, c2, c3, c4, channels = (scale(count, alpha) for count in (32, 32, 64, 80, 192))
        self.conv2d_1a = BasicConv2d(in_channels, c1, 3, 2, padded=False)
        self.conv2d_2a = BasicConv2d(c1, c2, 3, padded=False)
        self.conv2d_2b = BasicConv2d(c2, c3, 3)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = BasicConv2d(c3, c4, 1)
        self.conv2d_4a = BasicConv2d(c4, channels, 3, padded=False)
        self.maxpool_5a = nn.MaxPool2d(3, 2)
        for name, branches, count, factor in self.STAGES:
            if factor:
                blocks = [ResidualInception(channels, branches, factor, alpha) for _ in range(count)]
                self.add_module(name, nn.Sequential(*blocks))
            else:
                block = Mixed(channels, branches, alpha)
                self.add_module(name, block)
                channels = block.outputs
        self.block8 = ResidualInception(channels, _BLOCK_8, 1.0, alpha, activate=False)
        last = scale(1536, alpha)
        self.conv2d_7b = BasicConv2d(channels, last, 1)
        self.global_pool = GlobalPool()
        self.head_drop = nn.Dropout(0.2)
        self.classif = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x)))
        x = self.maxpool_5a(x)
        for name, *_ in self.STAGES:
            x = getattr(self, name)(x)
        x = self.conv2d_7b(self.block8(x))
        return self.classif(self.head_drop(self.global_pool(x)))


def inception_v4(*, alpha: float, num_classes: int, in_channels: int) -> InceptionV4:
    """Build Inception-v4: 42,679,816 parameters at alpha 1; alpha scales every convolution."""
    return InceptionV4(alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def inception_resnet_v2(*, alpha: float, num_classes: int, in_channels: int) -> InceptionResNetV2:
    """Build Inception-ResNet-v2: 55,843,464 parameters at alpha 1; alpha scales every convolution."""
    return InceptionResNetV2(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
