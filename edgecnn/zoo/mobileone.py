"""MobileOne (Vasu et al. 2022, "MobileOne: An Improved One Millisecond Mobile Backbone").

State-dict keys: timm's `mobileone_s0` to `s4`, of the form that is trained, and of the folded one after
`reparameterize.fold`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.zoo.blocks import SqueezeExcitation, pooled_head
from edgecnn.zoo.reparameterize import Branch, Reparameterized
from edgecnn.zoo.width import scale

#: Table 2 of the paper: pairs of a depthwise and a pointwise block per stage after the stem.
LAYERS = (2, 8, 10, 1)


class MobileOneBlock(Reparameterized):
    """`copies` convolutions of one kernel, a 1x1 one beside larger ones, and the identity (figure 3)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        copies: int = 1,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.identity = nn.BatchNorm2d(outputs) if inputs == outputs and stride == 1 else None
        self.conv_kxk = nn.ModuleList(Branch(inputs, outputs, kernel, stride, groups) for _ in range(copies))
        self.conv_scale = Branch(inputs, outputs, 1, stride, groups) if kernel > 1 else None
        self.attn = SqueezeExcitation(outputs, _squeezed(outputs)) if squeeze else nn.Identity()
        self.act = nn.ReLU()

    def branches(self) -> list[Branch]:
        """Return the convolutions, the 1x1 one last."""
        found = [branch for branch in self.conv_kxk if isinstance(branch, Branch)]
        return found if self.conv_scale is None else [*found, self.conv_scale]

    def branch_names(self) -> tuple[str, ...]:
        """Return their names."""
        return ("conv_kxk", "conv_scale")


def _squeezed(channels: int) -> int:
    """Return the hidden width of a gate: a sixteenth, as a multiple of 8."""
    return scale(channels, 1 / 16)


class MobileOne(nn.Module):
    """A stem, stages of depthwise and pointwise blocks, global pooling and one linear layer."""

    def __init__(
        self,
        *,
        widths: tuple[float, ...],
        copies: int,
        squeezes: tuple[int, ...],
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        channels = scale(int(min(64, 64 * widths[0])), alpha)
        self.stem = MobileOneBlock(in_channels, channels, 3, 2)
        stages = []
        for stage, (pairs, width, squeezing) in enumerate(zip(LAYERS, widths, squeezes, strict=True)):
            outputs = scale(int(64 * 2**stage * width), alpha)
            modules = []
            for index in range(pairs):
                squeeze = index >= pairs - squeezing
                step = 1 if index else 2
                modules += [
                    MobileOneBlock(
                        channels, channels, 3, step, groups=channels, copies=copies, squeeze=squeeze
                    ),
                    MobileOneBlock(channels, outputs, 1, copies=copies, squeeze=squeeze),
                ]
                channels = outputs
            stages.append(nn.Sequential(*modules))
        self.stages = nn.Sequential(*stages)
        self.head = pooled_head(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.head(self.stages(self.stem(x)))


def mobileone(
    *,
    widths: tuple[float, ...],
    alpha: float,
    num_classes: int,
    in_channels: int,
    copies: int = 1,
    squeezes: tuple[int, ...] = (0, 0, 0, 0),
) -> MobileOne:
    """Build MobileOne in the form that is trained; alpha scales on top of the paper's widths.

    `copies` are the branches with the block's own kernel, `squeezes` the last pairs of blocks of each stage
    that have squeeze-and-excitation.
    """
    return MobileOne(
        widths=widths, copies=copies, squeezes=squeezes,
        alpha=alpha, num_classes=num_classes, in_channels=in_channels,
    )  # fmt: skip
