"""MobileNetV1 (Howard et al. 2017) and MobileNetV2 (Sandler et al. 2018).

State-dict keys: timm's `mobilenetv1_100`, torchvision's `mobilenet_v2`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, conv_bn_act
from edgecnn.zoo.width import scale


class DepthwiseSeparable(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with batch normalization and ReLU6."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.act(self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x))))))


class MobileNetV1(nn.Module):
    """Table 1 of the paper: a 3x3 stem and 13 depthwise separable layers."""

    #: (channels, layers, stride of the first layer) per stage.
    STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = scale(32, alpha)
        self.conv_stem = nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU6()
        stages = []
        for wanted, layers, stride in self.STAGES:
            outputs = scale(wanted, alpha)
            stage = [DepthwiseSeparable(channels, outputs, stride)]
            stage += [DepthwiseSeparable(outputs, outputs, 1) for _ in range(layers - 1)]
            stages.append(nn.Sequential(*stage))
            channels = outputs
        self.blocks = nn.Sequential(*stages)
        self.global_pool = GlobalPool()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.classifier(self.global_pool(x))


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter with a depthwise 3x3, project with a linear 1x1 (figure 4 of the paper)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_bn_act(inputs, hidden, 1, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_bn_act(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Table 2 of the paper. As there, the last layer is never narrower than 1280 channels."""

    #: (expansion, channels, layers, stride of the first layer) per stage.
    STAGES = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = scale(32, alpha)
        features: list[nn.Module] = [conv_bn_act(in_channels, channels, 3, 2)]
        for expansion, wanted, layers, stride in self.STAGES:
            outputs = scale(wanted, alpha)
            for index in range(layers):
                features.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        last = scale(1280, max(1.0, alpha))
        features.append(conv_bn_act(channels, last, 1, 1))
        self.features = nn.Sequential(*features)
        self.global_pool = GlobalPool()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.global_pool(self.features(x)))


def mobilenet_v1(*, alpha: float, num_classes: int, in_channels: int) -> MobileNetV1:
    """Build MobileNetV1: 4,231,976 parameters at alpha 1; alpha scales every layer (section 3.3)."""
    return MobileNetV1(alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def mobilenet_v2(*, alpha: float, num_classes: int, in_channels: int) -> MobileNetV2:
    """Build MobileNetV2: 3,504,872 parameters at alpha 1; an alpha below 1 leaves the last layer."""
    return MobileNetV2(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
