"""A network of a user's own, with two heads, in files as a user has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NETS = """
import torch
from torch import nn
from torch.nn import functional as F

from blocks import Block


class TwoHeads(nn.Module):
    def __init__(self, num_classes=2, width=16, scales=(1, 2)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(*(Block(width) for _ in scales))
        self.kind = nn.Linear(width, num_classes)
        self.bright = nn.Linear(width, 1)

    def forward(self, x, labels=None):
        # of its own, on no device that anybody named, unless there is a GPU
        ramp = torch.linspace(0, 1, x.shape[3], device=x.device if x.is_cuda else None)
        x = self.body(self.stem(x + ramp)).mean((2, 3))
        kind, bright = self.kind(x), self.bright(x)
        if self.training:
            wanted = (labels % 2).float()
            return {
                "kind": F.cross_entropy(kind, labels),
                "bright": F.binary_cross_entropy_with_logits(bright[:, 0], wanted),
            }
        return {"kind": kind.softmax(1), "heads": (bright, kind.argmax(1))}


class Scores(TwoHeads):
    def forward(self, x):
        print("seen")
        return self.kind(self.body(self.stem(x)).mean((2, 3)))
"""

BLOCKS = '''
import torch
from torch import nn


class Block(nn.Module):
    """Its normalization is defined after the convolution, and applied before it."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.wide = nn.Conv2d(width, 4 * width, 1)
        self.narrow = nn.Conv2d(4 * width, width, 1)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x):
        y = self.conv(torch.relu(self.norm(x)))
        return x + self.scale * self.narrow(torch.relu(self.wide(y)))
'''


def write(folder: Path, nets: str = NETS, blocks: str = BLOCKS) -> str:
    """Write the files into a folder; return the path of nets.py."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blocks.py").write_text(blocks)
    path = folder / "nets.py"
    path.write_text(nets)
    return str(path)


def images(folder: Path, each: int = 12, size: int = 20) -> Path:
    """Write dark and bright images into two class folders."""
    draws = np.random.default_rng(0)
    for name, level in (("bright", 160), ("dark", 20)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = level + draws.integers(0, 60, (size, size, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder
