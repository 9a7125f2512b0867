"""NASNet-A (Zoph, Vasudevan, Shlens, Le 2017, "Learning Transferable Architectures").

State-dict keys: timm's `nasnetalarge`; the mobile network has the same ones, its stages numbered from the
same cells. Both cells are those of figure 4; padding is TensorFlow's SAME. The paper's auxiliary classifier
is left out, as it is there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, StochasticDepth, conv_same
from edgecnn.zoo.width import scale


def _bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class ConvNorm(nn.Module):
    """A convolution and batch normalization, after a ReLU if `activate`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.act = nn.ReLU() if activate else nn.Identity()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.bn = _bn(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        return self.bn(self.conv(self.act(x)))


class SeparableConv2d(nn.Module):
    """A depthwise and a pointwise convolution, nothing between."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depthwise_conv2d = conv_same(inputs, inputs, kernel, stride, groups=inputs)
        self.pointwise_conv2d = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.pointwise_conv2d(self.depthwise_conv2d(x))


class BranchSeparables(nn.Module):
    """ReLU, separable convolution, batch normalization, each twice (appendix A.4); the first strides."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # Where the width changes (in the stem) it does so in the first of the two.
        self.act_1 = nn.ReLU()
        self.separable_1 = SeparableConv2d(inputs, outputs, kernel, stride)
        self.bn_sep_1 = _bn(outputs)
        self.act_2 = nn.ReLU()
        self.separable_2 = SeparableConv2d(outputs, outputs, kernel, 1)
        self.bn_sep_2 = _bn(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        x = self.bn_sep_1(self.separable_1(self.act_1(x)))
        return self.bn_sep_2(self.separable_2(self.act_2(x)))


class Halve(nn.Module):
    """3x3 pooling with stride 2 and SAME padding: on all sides of an odd image, else right and below."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        odd = (x.shape[2] % 2, x.shape[3] % 2)
        if self.kind == "max":
            # Rounding the size up is the same as padding below and right, without a layer for it.
            return F.max_pool2d(x, 3, 2, odd, ceil_mode=True)
        # The padding counts as zeros, as in the published weights' network.
        return F.avg_pool2d(F.pad(x, (odd[1], 1, odd[0], 1)), 3, 2)


class Cell(nn.Module):
    """What both kinds of cell share: the two inputs, brought to one width and one size.

    `x` is the output of the cell before, `previous` that of the cell before it. How the latter is adjusted:
    "no": as it is. "conv": a 1x1 convolution. "halve", where it is twice as large: a factorized reduction
    (appendix A.4), which loses no pixels, since half of the channels read the even ones and half the odd.
    """

    def __init__(self, inputs: int, previous: int, channels: int, adjust: str, drop: float = 0.0) -> None:
        super().__init__()
        self.adjust = adjust
        self.drop = StochasticDepth(drop)
        self.conv_1x1 = ConvNorm(inputs, channels)
        if adjust == "conv":
            self.conv_prev_1x1 = ConvNorm(previous, channels)
        elif adjust == "halve":
            self.act = nn.ReLU()
            self.path_1 = nn.Sequential()
            self.path_1.add_module("conv", nn.Conv2d(previous, channels // 2, 1, 2, bias=False))
            self.path_2 = nn.Sequential()
            self.path_2.add_module("conv", nn.Conv2d(previous, channels // 2, 1, 2, bias=False))
            self.final_path_bn = _bn(channels)

    def _adjusted(self, previous: Tensor) -> Tensor:
        if self.adjust == "conv":
            return self.conv_prev_1x1(previous)
        if self.adjust == "halve":
            even = self.act(previous)
            odd = F.pad(even[:, :, 1:, 1:], (0, even.shape[3] % 2, 0, even.shape[2] % 2))
            return self.final_path_bn(torch.cat([self.path_1(even), self.path_2(odd)], 1))
        return previous


class NormalCell(Cell):
    """Figure 4, left: five sums of two, and the adjusted previous input, concatenated to 6 * channels."""

    def __init__(self, inputs: int, previous: int, channels: int, adjust: str, drop: float) -> None:
        super().__init__(inputs, previous, channels, adjust, drop)
        self.outputs = 6 * channels
        self.comb_iter_0_left = BranchSeparables(channels, channels, 5)
        self.comb_iter_0_right = BranchSeparables(channels, channels, 3)
        self.comb_iter_1_left = BranchSeparables(channels, channels, 5)
        self.comb_iter_1_right = BranchSeparables(channels, channels, 3)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.comb_iter_4_left = BranchSeparables(channels, channels, 3)

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and (N, previous, H or 2 H, W or 2 W) to (N, outputs, H, W)."""
        drop, h, p = self.drop, self.conv_1x1(x), self._adjusted(previous)
        mean = self.pool(p)
        sums = [
            drop(self.comb_iter_0_left(h)) + drop(self.comb_iter_0_right(p)),
            drop(self.comb_iter_1_left(p)) + drop(self.comb_iter_1_right(p)),
            drop(self.pool(h)) + p,
            drop(mean) + drop(mean),
            drop(self.comb_iter_4_left(h)) + h,
        ]
        return torch.cat([p, *sums], 1)


class ReductionCell(Cell):
    """Figure 4, right: half the size, 4 * channels out; the first sum is not among them."""

    def __init__(self, inputs: int, previous: int, channels: int, adjust: str, drop: float = 0.0) -> None:
        super().__init__(inputs, previous, channels, adjust, drop)
        self.outputs = 4 * channels
        width = previous if adjust == "no" else channels
        self.comb_iter_0_left = BranchSeparables(channels, channels, 5, 2)
        self.comb_iter_0_right = BranchSeparables(width, channels, 7, 2)
        self.comb_iter_1_right = BranchSeparables(width, channels, 7, 2)
        self.comb_iter_2_right = BranchSeparables(width, channels, 5, 2)
        self.comb_iter_4_left = BranchSeparables(channels, channels, 3)
        self.largest, self.mean = Halve("max"), Halve("avg")
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and (N, previous, H or 2 H, W or 2 W) to (N, outputs, H / 2, W / 2)."""
        drop, h, p = self.drop, self.conv_1x1(x), self._adjusted(previous)
        largest = self.largest(h)
        first = drop(self.comb_iter_0_left(h)) + drop(self.comb_iter_0_right(p))
        second = drop(largest) + drop(self.comb_iter_1_right(p))
        third = drop(self.mean(h)) + drop(self.comb_iter_2_right(p))
        fourth = drop(self.pool(first)) + second
        fifth = drop(self.comb_iter_4_left(first)) + drop(largest)
        return torch.cat([second, third, fourth, fifth], 1)


class NASNet(nn.Module):
    """NASNet-A (repeats @ features): a stem of two reductions, then three stages of `repeats` normal cells.

    Each path in a cell is dropped with a probability that grows linearly from the first cell to `drop` in
    the last. The paper's ScheduledDropPath lets it grow during training too; a training loop can, by
    setting `p` of each `StochasticDepth`.
    """

    def __init__(
        self, *, repeats: int, features: int, stem: int, drop: float,
        alpha: float, num_classes: int, in_channels: int,
    ) -> None:  # fmt: skip
        super().__init__()
        # A normal cell concatenates 6 inputs, and each of 2 reductions doubles the width: 24.
        channels = scale(features // 24, alpha, divisor=4)
        stem = scale(stem, alpha)
        self.conv0 = ConvNorm(in_channels, stem, 3, 2, activate=False)
        first = ReductionCell(stem, stem, channels // 4, "no")
        second = ReductionCell(first.outputs, stem, channels // 2, "halve")
        self.cell_stem_0, self.cell_stem_1 = first, second
        previous, inputs = first.outputs, second.outputs
        #: Name of each cell, in order.
        self.cells: list[str] = []
        for stage in range(3):
            adjust = "halve"
            if stage:
                reduction = ReductionCell(inputs, previous, channels, "conv", drop * stage / 3)
                self._append(f"reduction_cell_{stage - 1}", reduction)
                inputs = reduction.outputs
            for index in range(repeats):
                rate = drop * (stage * repeats + index + 1) / (3 * repeats)
                cell = NormalCell(inputs, previous, channels, adjust, rate)
                # Stages are numbered from 0, 6 and 12 whatever their length, as in published weights.
                self._append(f"cell_{6 * stage + index}", cell)
                previous, inputs, adjust = inputs, cell.outputs, "conv"
            channels *= 2
        self.act = nn.ReLU()
        self.global_pool = GlobalPool()
        self.head_drop = nn.Dropout(0.5)
        self.last_linear = nn.Linear(inputs, num_classes)

    def _append(self, name: str, cell: Cell) -> None:
        self.add_module(name, cell)
        self.cells.append(name)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.conv0(x)
        previous = self.cell_stem_0(x, x)
        x = self.cell_stem_1(previous, x)
        for name in self.cells:
            cell = getattr(self, name)
            if isinstance(cell, ReductionCell):
                # The cell after a reduction reads the same previous output, which it has to halve.
                x = cell(x, previous)
            else:
                previous, x = x, cell(x, previous)
        return self.last_linear(self.head_drop(self.global_pool(self.act(x))))


def nasnet(
    *, repeats: int, features: int, stem: int, drop: float, alpha: float, num_classes: int, in_channels: int
) -> NASNet:
    """Build NASNet-A (`repeats` @ `features`); alpha scales the stem and the width of the cells."""
    return NASNet(
        repeats=repeats, features=features, stem=stem, drop=drop,
        alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip
