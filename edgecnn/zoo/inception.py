"""Inception v2 (Ioffe and Szegedy 2015, "Batch Normalization") and v3 (Szegedy et al. 2015, "Rethinking").

State-dict keys of v3: torchvision's. v2 has no reference in torchvision or timm: it is the table of the
batch-normalization paper, and its keys are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool
from edgecnn.zoo.width import scale

Kernel = int | tuple[int, int]
#: One convolution of a branch: its channels at alpha 1, and its kernel (height, width).
Step = tuple[int, Kernel]
#: Stands for a kernel: 1x3 and 3x1 side by side.
SPLIT = 0
#: A branch by name, from its input to its output.
Branch = tuple[str, tuple[Step, ...]]


class BasicConv2d(nn.Module):
    """Convolution, batch normalization and ReLU. Padded to keep the size, or not padded at all."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.relu(self.bn(self.conv(x)))


class InceptionV2Block(nn.Module):
    """1x1, 3x3, double 3x3 and pooling side by side: the 5x5 of GoogLeNet is two 3x3 (section 4.2).

    A `plan` is a row of the paper's table: (1x1, 3x3 reduce, 3x3, double reduce, double, pool, projection).
    Without 1x1 and projection the block halves the image, and passes the pooled input through.
    """

    def __init__(self, inputs: int, plan: tuple[int, int, int, int, int, str, int], alpha: float) -> None:
        super().__init__()
        stride = 1 if plan[0] else 2
        c1, r3, c3, rd, cd, cp = (scale(count, alpha) if count else 0 for count in (*plan[:5], plan[6]))
        self.branches = nn.ModuleList()
        if c1:
            self.branches.append(BasicConv2d(inputs, c1, 1))
        self.branches.append(nn.Sequential(BasicConv2d(inputs, r3, 1), BasicConv2d(r3, c3, 3, stride)))
        self.branches.append(
            nn.Sequential(BasicConv2d(inputs, rd, 1), BasicConv2d(rd, cd, 3), BasicConv2d(cd, cd, 3, stride))
        )
        pooling: nn.Module = nn.MaxPool2d(3, stride, 1) if plan[5] == "max" else nn.AvgPool2d(3, 1, 1)
        self.branches.append(nn.Sequential(pooling, BasicConv2d(inputs, cp, 1)) if cp else pooling)
        self.outputs = c1 + c3 + cd + (cp or inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class InceptionV2(nn.Module):
    """Figure 5 of the batch-normalization paper; its first layer is separable, 8 filters per channel.

    The paper's figure gives the projections of 4c and 4d as 128, with which they would have 608 outputs;
    its column of output sizes says 576, which needs the 96 used here. No dropout, no local response
    normalization (section 4.2.1).
    """

    #: Figure 5, inception 3a to 5b.
    PLANS = (
        (64, 64, 64, 64, 96, "avg", 32), (64, 64, 96, 64, 96, "avg", 64),
        (0, 128, 160, 64, 96, "max", 0),
        (224, 64, 96, 96, 128, "avg", 128), (192, 96, 128, 96, 128, "avg", 128),
        (160, 128, 160, 128, 160, "avg", 96), (96, 128, 192, 160, 192, "avg", 96),
        (0, 128, 192, 192, 256, "max", 0),
        (352, 192, 320, 160, 224, "avg", 128), (352, 192, 320, 192, 224, "max", 128),
    )  # fmt: skip

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        filters = in_channels * scale(8, alpha, divisor=1)
        c1, c2, channels = scale(64, alpha), scale(64, alpha), scale(192, alpha)
        layers: list[nn.Module] = [
            nn.Sequential(
                nn.Conv2d(in_channels, filters, 7, 2, 3, groups=in_channels, bias=False),
                BasicConv2d(filters, c1, 1),
            ),
            nn.MaxPool2d(3, 2, 1),
            BasicConv2d(c1, c2, 1),
            BasicConv2d(c2, channels, 3),
            nn.MaxPool2d(3, 2, 1),
        ]
        for plan in self.PLANS:
            block = InceptionV2Block(channels, plan, alpha)
            layers.append(block)
            channels = block.outputs
        self.features = nn.Sequential(*layers)
        self.global_pool = GlobalPool()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.global_pool(self.features(x)))


class Mixed(nn.Module):
    """Branches of convolutions, and one of pooling, concatenated.

    The branch named `branch_pool` is pooled first. With `halve` the last convolution of each branch has
    stride 2, the pooled input passes through as it is, and nothing is padded there: the grid reduction of
    section 5. A branch may end in SPLIT (figure 7).
    """

    def __init__(self, inputs: int, branches: tuple[Branch, ...], alpha: float, halve: bool = False) -> None:
        super().__init__()
        self.halve = halve
        self.outputs = inputs if halve else 0
        #: Names of the layers, branch by branch; the last entry may name two that work side by side.
        self.paths: list[list[tuple[str, ...]]] = []
        for branch, steps in branches:
            channels, path = inputs, []
            for number, (wanted, kernel) in enumerate(steps, 1):
                name = branch if len(steps) == 1 else f"{branch}_{number}"
                outputs, last = scale(wanted, alpha), number == len(steps)
                kernels: dict[str, Kernel] = {name: kernel}
                if kernel == SPLIT:
                    kernels = {f"{name}a": (1, 3), f"{name}b": (3, 1)}
                for key, size in kernels.items():
                    border = (2, False) if halve and last else (1, True)
                    self.add_module(key, BasicConv2d(channels, outputs, size, *border))
                path.append(tuple(kernels))
                channels = outputs
            self.paths.append(path)
            self.outputs += channels * len(path[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or half the size."""
        results = []
        for path in self.paths:
            pooled = path[0] == ("branch_pool",)
            outs = [F.avg_pool2d(x, 3, 1, 1) if pooled else x]
            for names in path:
                outs = [getattr(self, name)(outs[0]) for name in names]
            results += outs
        if self.halve:
            results.append(F.max_pool2d(x, 3, 2))
        return torch.cat(results, 1)


def _a(pool: int) -> tuple[Branch, ...]:
    """Figure 5 of the paper, with one 5x5 left."""
    return (
        ("branch1x1", ((64, 1),)),
        ("branch5x5", ((48, 1), (64, 5))),
        ("branch3x3dbl", ((64, 1), (96, 3), (96, 3))),
        ("branch_pool", ((pool, 1),)),
    )


def _c(channels: int) -> tuple[Branch, ...]:
    """Figure 6: 7x7 as 1x7 and 7x1."""
    row, column = (channels, (1, 7)), (channels, (7, 1))
    return (
        ("branch1x1", ((192, 1),)),
        ("branch7x7", ((channels, 1), row, (192, (7, 1)))),
        ("branch7x7dbl", ((channels, 1), column, row, column, (192, (1, 7)))),
        ("branch_pool", ((192, 1),)),
    )


#: Figure 10.
_B: tuple[Branch, ...] = (("branch3x3", ((384, 3),)), ("branch3x3dbl", ((64, 1), (96, 3), (96, 3))))
_D: tuple[Branch, ...] = (
    ("branch3x3", ((192, 1), (320, 3))),
    ("branch7x7x3", ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3))),
)
#: Figure 7.
_E: tuple[Branch, ...] = (
    ("branch1x1", ((320, 1),)),
    ("branch3x3", ((384, 1), (384, SPLIT))),
    ("branch3x3dbl", ((448, 1), (384, 3), (384, SPLIT))),
    ("branch_pool", ((192, 1),)),
)


class Auxiliary(nn.Module):
    """The classifier beside the network that helps training (section 4), batch-normalized."""

    def __init__(self, inputs: int, num_classes: int, alpha: float) -> None:
        super().__init__()
        reduced, channels = scale(128, alpha), scale(768, alpha)
        self.conv0 = BasicConv2d(inputs, reduced, 1)
        self.conv1 = BasicConv2d(reduced, channels, 5, padded=False)
        self.global_pool = GlobalPool()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to logits (N, classes)."""
        # 17x17 becomes 5x5. From images under 283 pixels less than that arrives, and is pooled to 5x5 too.
        x = F.avg_pool2d(x, 5, 3) if min(x.shape[2:]) >= 17 else F.adaptive_avg_pool2d(x, 5)
        return self.fc(self.global_pool(self.conv1(self.conv0(x))))


class InceptionV3(nn.Module):
    """Table 1 of "Rethinking the Inception Architecture", (N, C, 299, 299) in; 75 pixels at least."""

    #: Name, branches, whether the image is halved; the auxiliary classifier reads the output of 6e.
    BLOCKS = (
        ("Mixed_5b", _a(32), False), ("Mixed_5c", _a(64), False), ("Mixed_5d", _a(64), False),
        ("Mixed_6a", _B, True),
        ("Mixed_6b", _c(128), False), ("Mixed_6c", _c(160), False),
        ("Mixed_6d", _c(160), False), ("Mixed_6e", _c(192), False),
        ("Mixed_7a", _D, True), ("Mixed_7b", _E, False), ("Mixed_7c", _E, False),
    )  # fmt: skip

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        c1, c2, c3, c4, channels = (scale(count, alpha) for count in (32, 32, 64, 80, 192))
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, c1, 3, 2, padded=False)
        self.Conv2d_2a_3x3 = BasicConv2d(c1, c2, 3, padded=False)
        self.Conv2d_2b_3x3 = BasicConv2d(c2, c3, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = BasicConv2d(c3, c4, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(c4, channels, 3, padded=False)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        for name, branches, halve in self.BLOCKS:
            block = Mixed(channels, branches, alpha, halve)
            self.add_module(name, block)
            channels = block.outputs
            if name == "Mixed_6e":
                self.AuxLogits = Auxiliary(channels, num_classes, alpha)
        self.global_pool = GlobalPool()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to logits (N, classes); in training to those and the auxiliary logits."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.maxpool2(x)
        auxiliary = None
        for name, _, _ in self.BLOCKS:
            x = getattr(self, name)(x)
            if self.training and name == "Mixed_6e":
                auxiliary = self.AuxLogits(x)
        logits = self.fc(self.dropout(self.global_pool(x)))
        return logits if auxiliary is None else (logits, auxiliary)


def inception_v2(*, alpha: float, num_classes: int, in_channels: int) -> InceptionV2:
    """Build Inception v2, also known as BN-Inception; alpha scales every convolution."""
    return InceptionV2(alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def inception_v3(*, alpha: float, num_classes: int, in_channels: int) -> InceptionV3:
    """Build Inception v3: 27,161,264 parameters with its auxiliary classifier; alpha scales every one."""
    return InceptionV3(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
