"""RepVGG (Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again").

State-dict keys: timm's `repvgg_a0` to `b3`, of the form that is trained, and of the folded one after
`reparameterize.fold`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.zoo.blocks import pooled_head
from edgecnn.zoo.reparameterize import Branch, Reparameterized
from edgecnn.zoo.width import scale

#: Table 2 of the paper: layers of the stages after the stem, for A and for B.
LAYERS = {"a": (2, 4, 14, 1), "b": (4, 6, 16, 1)}


class RepBlock(Reparameterized):
    """A 3x3 and a 1x1 convolution and the identity, added up (figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.identity = nn.BatchNorm2d(outputs) if inputs == outputs and stride == 1 else None
        self.conv_kxk = Branch(inputs, outputs, 3, stride, groups)
        self.conv_1x1 = Branch(inputs, outputs, 1, stride, groups)
        self.attn = nn.Identity()
        self.act = nn.ReLU()

    def branches(self) -> list[Branch]:
        """Return the 3x3 and the 1x1 convolution."""
        return [self.conv_kxk, self.conv_1x1]

    def branch_names(self) -> tuple[str, ...]:
        """Return their names."""
        return ("conv_kxk", "conv_1x1")


class RepVGG(nn.Module):
    """Five stages of blocks, each halving the image, global pooling and one linear layer."""

    def __init__(
        self,
        *,
        layers: tuple[int, ...],
        widths: tuple[float, ...],
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        channels = scale(int(min(64, 64 * widths[0])), alpha)
        self.stem = RepBlock(in_channels, channels, 2)
        stages = []
        for stage, (blocks, width) in enumerate(zip(layers, widths, strict=True)):
            outputs = scale(int(64 * 2**stage * width), alpha)
            modules = []
            for index in range(blocks):
                modules.append(RepBlock(channels, outputs, 1 if index else 2))
                channels = outputs
            stages.append(nn.Sequential(*modules))
        self.stages = nn.Sequential(*stages)
        self.head = pooled_head(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.head(self.stages(self.stem(x)))


def repvgg(
    *, kind: str, widths: tuple[float, ...], alpha: float, num_classes: int, in_channels: int
) -> RepVGG:
    """Build RepVGG of kind a or b in the form that is trained; alpha scales on top of the paper's widths."""
    return RepVGG(
        layers=LAYERS[kind], widths=widths, alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )
