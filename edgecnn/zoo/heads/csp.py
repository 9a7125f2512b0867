"""Cross stage partial blocks (Wang et al. 2019, CSPNet, arXiv:1911.11929): YOLOX' backbone and neck.

State-dict keys: those of the reference implementation of YOLOX.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.zoo.width import scale


class Unit(nn.Module):
    """A convolution with batch normalization and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.act(self.bn(self.conv(x)))


class Separable(nn.Module):
    """A depthwise and a pointwise unit in place of one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = Unit(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = Unit(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.pconv(self.dconv(x))


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool) -> nn.Module:
    """Return a unit, or a separable one."""
    return (Separable if depthwise else Unit)(inputs, outputs, kernel, stride)


class Residual(nn.Module):
    """1x1 and 3x3 units, with a shortcut beside them if `shortcut`."""

    def __init__(self, channels: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = Unit(channels, channels, 1)
        self.conv2 = unit(channels, channels, 3, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out = self.conv2(self.conv1(x))
        return out + x if self.shortcut else out


class CSPLayer(nn.Module):
    """Half of the channels go through residual blocks, half past them."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, *, shortcut: bool = True, depthwise: bool = False
    ) -> None:
        super().__init__()
        hidden = outputs // 2
        self.conv1 = Unit(inputs, hidden, 1)
        self.conv2 = Unit(inputs, hidden, 1)
        self.conv3 = Unit(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Residual(hidden, shortcut, depthwise) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), 1))


class Focus(nn.Module):
    """Four neighbouring pixels become channels, and a convolution reads them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Unit(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        places = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(places, 1))


class SpatialPyramid(nn.Module):
    """Maxima over 5, 9 and 13 pixels beside the map itself (He et al. 2014, arXiv:1406.4729)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.conv1 = Unit(channels, hidden, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))
        self.conv2 = Unit(4 * hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class CSPDarknet(nn.Module):
    """Darknet-53 of cross stage partial layers: maps of strides 8, 16 and 32."""

    strides = (8, 16, 32)

    def __init__(
        self, depth: float, width: float, *, alpha: float, in_channels: int, depthwise: bool = False
    ) -> None:
        super().__init__()
        base = int(64 * width)
        blocks = max(round(3 * depth), 1)
        widths = [scale(base * 2**at, alpha) for at in range(5)]
        self.stem = Focus(in_channels, widths[0])

        def stage(at: int, count: int) -> list[nn.Module]:
            last = at == 3
            strided = unit(widths[at], widths[at + 1], 3, 2, depthwise=depthwise)
            pyramid: list[nn.Module] = [SpatialPyramid(widths[at + 1])] if last else []
            layer = CSPLayer(widths[at + 1], widths[at + 1], count, shortcut=not last, depthwise=depthwise)
            return [strided, *pyramid, layer]

        self.dark2 = nn.Sequential(*stage(0, blocks))
        self.dark3 = nn.Sequential(*stage(1, 3 * blocks))
        self.dark4 = nn.Sequential(*stage(2, 3 * blocks))
        self.dark5 = nn.Sequential(*stage(3, blocks))
        self.channels = tuple(widths[2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, C, H, W) to three maps, finest first."""
        third = self.dark3(self.dark2(self.stem(x)))
        fourth = self.dark4(third)
        return third, fourth, self.dark5(fourth)


class PathAggregation(nn.Module):
    """What coarse maps know goes to the fine ones, and back (Liu et al. 2018, PANet, arXiv:1803.01534)."""

    def __init__(
        self, channels: Sequence[int], widths: Sequence[int], blocks: int, depthwise: bool = False
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths

        def layer(inputs: int, outputs: int) -> CSPLayer:
            return CSPLayer(inputs, outputs, blocks, shortcut=False, depthwise=depthwise)

        self.lateral_conv0 = Unit(channels[2], middle, 1)
        self.C3_p4 = layer(middle + channels[1], middle)
        self.reduce_conv1 = Unit(middle, fine, 1)
        self.C3_p3 = layer(fine + channels[0], fine)
        self.bu_conv2 = unit(fine, fine, 3, 2, depthwise=depthwise)
        self.C3_n3 = layer(2 * fine, middle)
        self.bu_conv1 = unit(middle, middle, 3, 2, depthwise=depthwise)
        self.C3_n4 = layer(2 * middle, coarse)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map three maps, finest first, to three of the widths that were given."""
        third, fourth, fifth = maps
        top = self.lateral_conv0(fifth)
        middle = self.reduce_conv1(self.C3_p4(_joined(top, fourth)))
        fine = self.C3_p3(_joined(middle, third))
        again = self.C3_n3(torch.cat([self.bu_conv2(fine), middle], 1))
        return [fine, again, self.C3_n4(torch.cat([self.bu_conv1(again), top], 1))]


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat([F.interpolate(coarse, size=fine.shape[2:]), fine], 1)
