"""Swin Transformer (Liu et al. 2021, "Hierarchical Vision Transformer using Shifted Windows").

State-dict keys: torchvision's `swin_t`. Feature maps are (N, H, W, C) throughout, as there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.zoo.blocks import StochasticDepth, attend
from edgecnn.zoo.width import scale

#: Side of a window in tokens, side of a patch in pixels, width of an attention head (section 3.3).
WINDOW, PATCH, HEAD = 7, 4, 32
#: Added where one token must not attend to another.
_MASKED = -100.0


class ChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Move the channels."""
        return x.permute(0, 2, 3, 1)


class WindowAttention(nn.Module):
    """Self-attention within windows of 7x7 tokens, with relative position bias (equation 4).

    Every other block moves the windows by 3 (figure 2): the image is rolled, so that windows at the border
    hold parts of two or four neighbourhoods, which a mask keeps apart (figure 4).
    """

    #: An entry of the bias table for each pair of tokens of a window; torchvision keeps it in checkpoints.
    relative_position_index: Tensor

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = width // HEAD, shift
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, self.heads))
        row, column = torch.arange(WINDOW**2) // WINDOW, torch.arange(WINDOW**2) % WINDOW
        down = row[:, None] - row[None, :] + WINDOW - 1
        right = column[:, None] - column[None, :] + WINDOW - 1
        self.register_buffer("relative_position_index", (down * (2 * WINDOW - 1) + right).flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, width) to the same shape."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
        # A single window has nowhere to move.
        down, right = (self.shift if count > 1 else 0 for count in (rows, columns))
        if down or right:
            x = torch.roll(x, (-down, -right), (1, 2))
        x = x.reshape(-1, rows, WINDOW, columns, WINDOW, x.shape[3]).transpose(2, 3)
        tokens = x.reshape(-1, rows * columns, WINDOW * WINDOW, x.shape[5])
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.reshape(WINDOW * WINDOW, WINDOW * WINDOW, self.heads).permute(2, 0, 1)
        if down or right:
            bias = bias + _mask(rows, columns, down, right, x.device)
        tokens = self.proj(attend(self.qkv(tokens), self.heads, bias))
        x = tokens.reshape(-1, rows, columns, WINDOW, WINDOW, x.shape[5]).transpose(2, 3)
        x = x.reshape(-1, rows * WINDOW, columns * WINDOW, x.shape[5])
        if down or right:
            x = torch.roll(x, (down, right), (1, 2))
        return x[:, :height, :width]


def _mask(rows: int, columns: int, down: int, right: int, device: torch.device) -> Tensor:
    """Return 0 for pairs of tokens that were neighbours before the roll, -100 for others.

    Shape (windows, 1, tokens of a window, tokens of a window). A function of sizes alone: the exporter
    folds it to a constant.
    """

    def regions(count: int, shift: int) -> Tensor:
        position = torch.arange(count * WINDOW, device=device)
        last, wrapped = position >= (count - 1) * WINDOW, position >= count * WINDOW - shift
        return (last.long() + wrapped.long()).reshape(count, WINDOW)

    down_regions, right_regions = regions(rows, down), regions(columns, right)
    region = 3 * down_regions[:, None, :, None] + right_regions[None, :, None, :]
    region = region.reshape(rows * columns, WINDOW * WINDOW)
    apart = region[:, :, None] != region[:, None, :]
    return _MASKED * apart[:, None].float()


class SwinBlock(nn.Module):
    """Window attention and a two-layer perceptron, normalized before, with shortcuts (figure 3b)."""

    def __init__(self, width: int, shift: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            # torchvision's keys count two layers of dropout, which the paper sets to 0.
            nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width),
        )  # fmt: skip
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, width) to the same shape."""
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the width (section 3.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, width) to (N, ceil(H / 2), ceil(W / 2), 2 * width)."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        _, height, width, channels = x.shape
        x = x.reshape(-1, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(x.reshape(-1, height // 2, width // 2, 4 * channels)))


class SwinTransformer(nn.Module):
    """Swin-T: patches of 4 pixels, stages of 2, 2, 6 and 2 blocks, 96 to 768 channels; any input size."""

    DEPTHS = (2, 2, 6, 2)

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        width = scale(96, alpha, divisor=HEAD)
        patches = nn.Conv2d(in_channels, width, PATCH, PATCH)
        layers: list[nn.Module] = [nn.Sequential(patches, ChannelsLast(), nn.LayerNorm(width))]
        number, total = 0, sum(self.DEPTHS)
        for stage, depth in enumerate(self.DEPTHS):
            if stage:
                layers.append(PatchMerging(width))
                width *= 2
            blocks = []
            for index in range(depth):
                shift = WINDOW // 2 if index % 2 else 0
                # Stochastic depth growing to 0.2 (appendix A2.1).
                blocks.append(SwinBlock(width, shift, 0.2 * number / (total - 1)))
                number += 1
            layers.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.norm(self.features(x))
        # Adaptive pooling of a permuted tensor would be exported as a gather over all its elements.
        return self.head(torch.flatten(x.permute(0, 3, 1, 2).mean((2, 3), keepdim=True), 1))

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw the patches as a linear layer on their pixels, and the bias tables with deviation 0.02."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.in_channels * PATCH * PATCH
                nn.init.normal_(module.weight, 0.0, fan_in**-0.5, generator=generator)
            elif isinstance(module, WindowAttention):
                table = module.relative_position_bias_table
                nn.init.trunc_normal_(table, std=0.02, generator=generator)


def swin_tiny(*, alpha: float, num_classes: int, in_channels: int) -> SwinTransformer:
    """Build Swin-T: 28,288,354 parameters at alpha 1; alpha scales the width by whole heads."""
    return SwinTransformer(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
