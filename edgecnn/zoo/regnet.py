"""RegNet X and Y (Radosavovic et al. 2020, "Designing Network Design Spaces").

State-dict keys: timm's `regnetx_002` to `regnety_032`. Where timm has two of one name, this is torchvision's
(`regnetx_004_tv`, `regnety_008_tv`): of two multiples of the group width as near, it takes the larger.
"""

from __future__ import annotations

import math
from itertools import groupby

from torch import Tensor, nn

from edgecnn.zoo.blocks import ConvNormAct, SqueezeExcitation, pooled_head
from edgecnn.zoo.width import scale


class Bottleneck(nn.Module):
    """ResNeXt's block without a bottleneck: all three convolutions have the stage's width (section 3.2).

    RegNetY squeezes and excites after the grouped convolution, to a quarter of the block's input channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, squeeze: bool) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs, 1)
        self.conv2 = ConvNormAct(outputs, outputs, 3, stride, groups)
        self.se = SqueezeExcitation(outputs, max(1, round(inputs / 4))) if squeeze else nn.Identity()
        self.conv3 = ConvNormAct(outputs, outputs, 1, act=False)
        same = stride == 1 and inputs == outputs
        self.downsample = nn.Identity() if same else ConvNormAct(inputs, outputs, 1, stride, act=False)
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.conv3(self.se(self.conv2(self.conv1(x))))
        return self.act3(out + self.downsample(x))


def stages(depth: int, initial: int, slope: float, multiplier: float) -> list[tuple[int, int]]:
    """Return (width, number of blocks) per stage, by equations 2 to 4 of the paper.

    Block j would be initial + slope * j wide; that is rounded to a power of `multiplier` times `initial`, and
    to a multiple of 8. Blocks of one width are a stage.
    """
    widths = []
    for block in range(depth):
        power = round(math.log((initial + slope * block) / initial) / math.log(multiplier))
        widths.append(round(initial * multiplier**power / 8) * 8)
    return [(width, len(list(blocks))) for width, blocks in groupby(widths)]


class RegNet(nn.Module):
    """A 3x3 stem, four stages that each halve the image, global pooling and one linear layer."""

    def __init__(
        self,
        *,
        depth: int,
        initial: int,
        slope: float,
        multiplier: float,
        group_width: int,
        squeeze: bool,
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        channels = scale(32, alpha)
        self.stem = ConvNormAct(in_channels, channels, 3, 2)
        for number, (wanted, blocks) in enumerate(stages(depth, initial, slope, multiplier), 1):
            # Groups of one stage that is narrower than the group width are as wide as the stage.
            group = min(group_width, wanted)
            outputs = scale(_multiple(wanted, group), alpha, group)
            stage = nn.Sequential()
            for index in range(blocks):
                block = Bottleneck(channels, outputs, 1 if index else 2, outputs // group, squeeze)
                stage.add_module(f"b{index + 1}", block)
                channels = outputs
            self.add_module(f"s{number}", stage)
        self.head = pooled_head(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.head(self.s4(self.s3(self.s2(self.s1(self.stem(x))))))

    s1: nn.Module
    s2: nn.Module
    s3: nn.Module
    s4: nn.Module


def _multiple(width: int, of: int) -> int:
    """Return the nearest multiple, the larger of two."""
    return int(width + of / 2) // of * of


def regnet(
    *,
    depth: int,
    initial: int,
    slope: float,
    multiplier: float,
    group_width: int,
    squeeze: bool,
    alpha: float,
    num_classes: int,
    in_channels: int,
) -> RegNet:
    """Build RegNetX, or RegNetY with `squeeze`; alpha scales every stage by whole groups."""
    return RegNet(
        depth=depth, initial=initial, slope=slope, multiplier=multiplier, group_width=group_width,
        squeeze=squeeze, alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip
