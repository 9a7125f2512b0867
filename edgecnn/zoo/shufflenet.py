"""ShuffleNet (Zhang, Zhou, Lin, Sun 2017) and ShuffleNet V2 (Ma, Zhang, Zheng, Sun 2018).

State-dict keys: torchvision's `shufflenet_v2_x0_5` to `x2_0` for V2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, conv_bn_act
from edgecnn.zoo.width import scale

#: Units per stage; the first of each halves the size. The same in both papers' tables.
REPEATS = (4, 8, 4)
#: ShuffleNet, table 1: groups: channels of stages 2 to 4. All cost about 140 million operations.
GROUP_WIDTHS = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
#: ShuffleNet V2, table 5: channels of stages 2 to 4 and of the last convolution.
V2_WIDTHS = {
    "x0_5": (48, 96, 192, 1024),
    "x1_0": (116, 232, 464, 1024),
    "x1_5": (176, 352, 704, 1024),
    "x2_0": (244, 488, 976, 2048),
}


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups, (N, C, H, W): the next layer's groups see all of them."""
    _, channels, height, width = x.shape
    x = x.reshape(-1, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(-1, channels, height, width)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 (figures 2b and 2c of the first paper).

    With stride 2 the shortcut is average pooling, and its channels stand beside the new ones.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, first_groups: int) -> None:
        super().__init__()
        hidden = outputs // 4
        new = outputs - inputs if stride == 2 else outputs
        self.groups = groups
        self.conv1 = nn.Conv2d(inputs, hidden, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, new, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(new)
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.act(self.bn1(self.conv1(x)))
        if self.groups > 1:
            out = shuffle(out, self.groups)
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        return self.act(x + out if self.pool is None else torch.cat([self.pool(x), out], 1))


class ShuffleNetV1(nn.Module):
    """Table 1 of the first paper: a 3x3 stem, pooling, three stages of units, one linear layer."""

    def __init__(self, *, groups: int, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        # Multiples that keep every grouped convolution whole, the bottlenecks' quarter width included.
        channels = scale(24, alpha, divisor=groups)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        for stage, (wanted, repeats) in enumerate(zip(GROUP_WIDTHS[groups], REPEATS, strict=True)):
            outputs = scale(wanted, alpha, divisor=4 * groups)
            # Section 3.2: the first 1x1 layer has too few input channels for groups.
            units = [ShuffleUnit(channels, outputs, 2, groups, groups if stage else 1)]
            units += [ShuffleUnit(outputs, outputs, 1, groups, groups) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*units))
            channels = outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.global_pool = GlobalPool()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(self.global_pool(x))


class ShuffleUnitV2(nn.Module):
    """Split, transform one half, join, shuffle (figures 3c and 3d of the second paper).

    With stride 2 nothing is split: both branches see the whole input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1 = nn.Sequential() if stride == 1 else _shortcut(inputs, half)
        self.branch2 = nn.Sequential(
            nn.Conv2d(half if stride == 1 else inputs, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        kept, used = x.chunk(2, 1) if self.stride == 1 else (self.branch1(x), x)
        return shuffle(torch.cat([kept, self.branch2(used)], 1), 2)


def _shortcut(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class ShuffleNetV2(nn.Module):
    """Table 5 of the second paper: as ShuffleNet, and a 1x1 convolution before the pooling.

    As there, a width below 1 narrows the stages alone, not the first and the last convolution.
    """

    def __init__(self, *, width: str, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        *stage_widths, wanted_last = V2_WIDTHS[width]
        channels = scale(24, max(1.0, alpha))
        self.conv1 = conv_bn_act(in_channels, channels, 3, 2, act=nn.ReLU)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        for wanted, repeats in zip(stage_widths, REPEATS, strict=True):
            outputs = 2 * scale(wanted // 2, alpha)  # the halves are what the convolutions see
            units = [ShuffleUnitV2(channels, outputs, 2)]
            units += [ShuffleUnitV2(outputs, outputs, 1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*units))
            channels = outputs
        self.stage2, self.stage3, self.stage4 = stages
        last = scale(wanted_last, max(1.0, alpha))
        self.conv5 = conv_bn_act(channels, last, 1, 1, act=nn.ReLU)
        self.global_pool = GlobalPool()
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.global_pool(self.conv5(x)))


def shufflenet_v1(*, groups: int, alpha: float, num_classes: int, in_channels: int) -> ShuffleNetV1:
    """Build ShuffleNet 1x with `groups` groups; alpha scales every layer, the paper's "s x"."""
    return ShuffleNetV1(groups=groups, alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def shufflenet_v2(*, width: str, alpha: float, num_classes: int, in_channels: int) -> ShuffleNetV2:
    """Build ShuffleNet V2 of a `width` of the paper; alpha scales its stages on top."""
    return ShuffleNetV2(width=width, alpha=alpha, num_classes=num_classes, in_channels=in_channels)
