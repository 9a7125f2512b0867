"""DenseNet-BC (Huang, Liu, van der Maaten, Weinberger 2016, "Densely Connected Convolutional Networks").

State-dict keys: torchvision's `densenet121` to `densenet201`.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool
from edgecnn.zoo.width import scale

#: Table 1 of the paper: depth: (growth rate, channels of the stem, layers per block).
DEPTHS = {
    121: (32, 64, (6, 12, 24, 16)),
    161: (48, 96, (6, 12, 36, 24)),
    169: (32, 64, (6, 12, 32, 32)),
    201: (32, 64, (6, 12, 48, 32)),
}


class DenseLayer(nn.Module):
    """Append `growth` new feature maps to those there are (section 3, "Bottleneck layers").

    The 1x1 convolution before the 3x3 one has four times the growth rate's channels.
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, inputs + growth, H, W)."""
        out = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(out)))], 1)


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    """Return the layers that halve the size, and the channels (theta of the paper is 0.5)."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(nn.Module):
    """A 7x7 stem, four dense blocks with transitions between them, global pooling, one linear layer.

    Alpha scales the stem and the growth rate, and with them everything else.
    """

    def __init__(self, *, depth: int, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        wanted_growth, wanted, blocks = DEPTHS[depth]
        growth, channels = scale(wanted_growth, alpha), scale(wanted, alpha)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for number, length in enumerate(blocks, start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(1, length + 1):
                block[f"denselayer{index}"] = DenseLayer(channels, growth)
                channels += growth
            layers[f"denseblock{number}"] = nn.Sequential(block)
            if number < len(blocks):
                layers[f"transition{number}"] = _transition(channels, channels // 2)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        layers["relu5"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.global_pool = GlobalPool()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.global_pool(self.features(x)))


def densenet(*, depth: int, alpha: float, num_classes: int, in_channels: int) -> DenseNet:
    """Build DenseNet-`depth`."""
    return DenseNet(depth=depth, alpha=alpha, num_classes=num_classes, in_channels=in_channels)
