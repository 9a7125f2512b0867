"""EfficientNet-Lite: EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6.

State-dict keys: timm's `tf_efficientnet_lite0` to `lite4`. Padding is TensorFlow's SAME, and batch
normalization adds 0.001 to the variance, as in the published weights.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, conv_same
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
