"""Parts that several families share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2dSame(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, output side ceil(input / stride).

    With stride 2 and an even input the padding is one larger below and right than above and left,
    which `padding=` of `nn.Conv2d` cannot say.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out, ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for axis in (1, 0):  # F.pad counts from the last dimension
            size, stride = x.shape[2 + axis], self.stride[axis]
            kernel = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def conv_same(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    """Return a bias-free convolution with SAME padding: plain where the padding is the same on all sides."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return Conv2dSame(inputs, outputs, kernel, stride, groups=groups, bias=False)


def conv_bn_act(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, act: type[nn.Module] = nn.ReLU6
) -> nn.Sequential:
    """Return convolution, batch normalization and activation, padded to keep the size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
    )


class ConvNormAct(nn.Module):
    """A convolution with batch normalization, and ReLU if `act`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.act(self.bn(self.conv(x)))


def pooled_head(channels: int, classes: int) -> nn.Sequential:
    """Return global pooling and one linear layer, (N, channels, H, W) to (N, classes), by timm's names."""
    head = nn.Sequential()
    head.add_module("global_pool", nn.AdaptiveAvgPool2d(1))
    head.add_module("flatten", nn.Flatten())
    head.add_module("fc", nn.Linear(channels, classes))
    return head


class GlobalPool(nn.Module):
    """Global average pooling: (N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over height and width."""
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


class SqueezeExcitation(nn.Module):
    """Reweight channels by a gate computed from all of them (Hu et al. 2017, arXiv:1709.01507, figure 2).

    `squeezed` is the width of the gate's hidden layer. The gate's linear layers are 1x1 convolutions, which
    checkpoints call by `names`.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        act: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
        names: tuple[str, str] = ("fc1", "fc2"),
    ) -> None:
        super().__init__()
        self.names = names
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.add_module(names[0], nn.Conv2d(channels, squeezed, 1))
        self.act = act()
        self.add_module(names[1], nn.Conv2d(squeezed, channels, 1))
        self.gate = gate()

    @property
    def excite(self) -> nn.Conv2d:
        """The layer before the gate."""
        layer = self.get_submodule(self.names[1])
        assert isinstance(layer, nn.Conv2d)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        squeezed = self.act(self.get_submodule(self.names[0])(self.avgpool(x)))
        return x * self.gate(self.get_submodule(self.names[1])(squeezed))


class StochasticDepth(nn.Module):
    """In training, drop a residual branch for a share `p` of the images.

    Huang et al. 2016, Deep Networks with Stochastic Depth, arXiv:1603.09382. The branches
    that stay are divided by 1 - p, so that nothing is scaled in evaluation.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to the same shape."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device) >= self.p
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p:g}"


def attend(qkv: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v (Vaswani et al. 2017, arXiv:1706.03762, equation 1).

    `qkv` is (..., tokens, 3 * heads * d): queries, keys and values side by side, within each head by head.
    `bias` broadcasts to (..., heads, tokens, tokens). The result is (..., tokens, heads * d).
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(-3, -2) for part in qkv.chunk(3, -1))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights = torch.softmax(scores if bias is None else scores + bias, -1)
    return (weights @ v).transpose(-3, -2).flatten(-2)


class LocalResponseNorm(nn.LocalResponseNorm):
    """Divide by (k + alpha / size * sum of squares over `size` neighbouring channels) ** beta.

    Krizhevsky et al. 2012, section 3.3; note that their alpha is not divided by the size. ONNX has the
    operator, which engines know; PyTorch would export ten others in its place.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if not torch.onnx.is_in_onnx_export():
            return super().forward(x)
        return torch.onnx.ops.symbolic(
            "LRN",
            (x,),
            {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.k},
            dtype=x.dtype,
            shape=x.shape,
        )


class AdaptivePool(nn.AdaptiveAvgPool2d):
    """Average pooling to a fixed side, whatever the input's; exports as plain operators.

    Output i averages rows floor(i * H / side) up to ceil((i + 1) * H / side), columns likewise, which
    is PyTorch's rule. Where the input has that side already, nothing is left to do.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, side, side)."""
        height, width = x.shape[2:]
        if height == width == self.side:
            return x
        if height % self.side == 0 and width % self.side == 0:
            return F.avg_pool2d(x, (height // self.side, width // self.side))
        for axis, size in ((2, height), (3, width)):
            edges = [(i * size // self.side, -(-(i + 1) * size // self.side)) for i in range(self.side)]
            x = torch.cat([x.narrow(axis, a, b - a).mean(axis, keepdim=True) for a, b in edges], axis)
        return x
