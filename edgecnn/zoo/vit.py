"""The vision transformer (Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv:2010.11929).

State-dict keys: timm's `vit_tiny_patch16_224` and `vit_small_patch16_224`, torchvision's `vit_b_16`. The
tiny and the small one are the sizes that DeiT added (Touvron et al. 2020, arXiv:2012.12877).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.blocks import StochasticDepth, attend
from edgecnn.zoo.width import scale

#: Side of a patch in pixels, width of an attention head, number of blocks.
PATCH, HEAD, DEPTH = 16, 64, 12
_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention with heads of 64 channels (appendix A)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, width) to the same shape."""
        return self.proj(attend(self.qkv(x), self.heads))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalized before and with a shortcut (figure 1)."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, 4 * width))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * width, width))
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, width) to the same shape."""
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """Patches and a class token, position embeddings, 12 blocks, one linear layer on the class token.

    As DeiT trains it, with stochastic depth growing to 0.1 and no dropout. The position embeddings belong to
    one resolution.
    """

    def __init__(
        self, *, width: int, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
    ) -> None:
        super().__init__()
        tokens, width = _tokens(resolution), scale(width, alpha, divisor=HEAD)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.patch_embed = nn.Sequential()
        self.patch_embed.add_module("proj", nn.Conv2d(in_channels, width, PATCH, PATCH))
        self.blocks = nn.Sequential(*[Block(width, 0.1 * index / (DEPTH - 1)) for index in range(DEPTH)])
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = _embed(self.patch_embed(x), self.cls_token, self.pos_embed)
        return self.head(self.norm(self.blocks(x)[:, 0]))

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw what is neither a convolution nor a linear layer."""
        _reset(self.patch_embed[0], self.cls_token, self.pos_embed, generator)


class PackedAttention(nn.Module):
    """The same attention under torchvision's keys: `in_proj_weight` and `in_proj_bias` for the first layer.

    It is a linear layer here too, so that whatever counts, draws, prunes or quantizes linear layers finds it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.register_state_dict_post_hook(_pack)
        self.register_load_state_dict_pre_hook(_unpack)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, width) to the same shape."""
        return self.out_proj(attend(self.in_proj(x), self.heads))


def _pack(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in ("weight", "bias"):
        state[f"{prefix}in_proj_{name}"] = state.pop(f"{prefix}in_proj.{name}")


def _unpack(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in ("weight", "bias"):
        if f"{prefix}in_proj_{name}" in state:
            state[f"{prefix}in_proj.{name}"] = state.pop(f"{prefix}in_proj_{name}")


class EncoderBlock(nn.Module):
    """The block under torchvision's keys, with dropout after each dense layer but queries' (appendix B.1)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=_EPS)
        self.self_attention = PackedAttention(width)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, width) to the same shape."""
        x = x + self.dropout(self.self_attention(self.ln_1(x)))
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Position embeddings, blocks and the last normalization."""

    def __init__(self, width: int, tokens: int, dropout: float) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, tokens, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential()
        for index in range(DEPTH):
            self.layers.add_module(f"encoder_layer_{index}", EncoderBlock(width, dropout))
        self.ln = nn.LayerNorm(width, eps=_EPS)

    def forward(self, patches: Tensor, class_token: Tensor) -> Tensor:
        """Map (N, width, H, W) and (1, 1, width) to the class token's result, (N, width)."""
        x = self.dropout(_embed(patches, class_token, self.pos_embedding))
        return self.ln(self.layers(x)[:, 0])


class VisionTransformerBase(nn.Module):
    """The same network under torchvision's keys, as the paper trains it: dropout 0.1 (table 3)."""

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> None:
        super().__init__()
        tokens, width = _tokens(resolution), scale(768, alpha, divisor=HEAD)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_proj = nn.Conv2d(in_channels, width, PATCH, PATCH)
        self.encoder = Encoder(width, tokens, 0.1)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.heads(self.encoder(self.conv_proj(x), self.class_token))

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw what is neither a convolution nor a linear layer."""
        _reset(self.conv_proj, self.class_token, self.encoder.pos_embedding, generator)


def _tokens(resolution: SizeLike) -> int:
    """Return the number of tokens: one per patch, and the class token."""
    size = Size.of(resolution)
    if any(side < PATCH or side % PATCH for side in size):
        raise InvalidValueError(
            f"a vision transformer cannot take an input of {size} pixels",
            hint=f"the input is cut into patches: give a multiple of {PATCH}",
        )
    return size.pixels // PATCH**2 + 1


def _embed(patches: Tensor, class_token: Tensor, positions: Tensor) -> Tensor:
    """Return (N, tokens, width) from (N, width, H, W): equation 1."""
    tokens = patches.flatten(2).transpose(1, 2)
    return torch.cat([class_token.expand(tokens.shape[0], -1, -1), tokens], 1) + positions


def _reset(patches: nn.Module, class_token: Tensor, positions: Tensor, generator: torch.Generator) -> None:
    """Draw the embeddings: patches as a linear layer on their pixels, positions with deviation 0.02."""
    weight, _ = patches.parameters()
    nn.init.normal_(weight, 0.0, weight[0].numel() ** -0.5, generator=generator)
    nn.init.trunc_normal_(positions, std=0.02, generator=generator)
    nn.init.zeros_(class_token)


def vit(
    *, width: int, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> VisionTransformer:
    """Build ViT-Ti (`width` 192) or ViT-S (384) with patches of 16 pixels.

    alpha scales the width by whole heads, as DeiT does. Raises InvalidValueError if a side is not a
    multiple of 16.
    """
    return VisionTransformer(
        width=width, alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution
    )


def vit_base(
    *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> VisionTransformerBase:
    """Build ViT-B/16; alpha and `resolution` as for `vit`."""
    return VisionTransformerBase(
        alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution
    )
