"""What the frameworks themselves make of 50 pictures: writes runtime/preparations.csv, hashes of frames.

    pip install opencv-python-headless torchvision
    python tests/framework_preparations.py

Frames are (H, W, C) uint8, before they are normalized. They were the same with OpenCV 4.14 and 5.0.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parent / "runtime" / "preparations.csv"
#: Height and width of the inputs: a square and a rectangle.
INPUTS = {"square": (96, 96), "rectangle": (64, 112)}


def pictures() -> list[np.ndarray]:
    """Return 50 pictures, RGB: smooth, noisy and flat parts, sides from 1 to 260."""
    rng = np.random.default_rng(7)
    made = []
    for index in range(50):
        height, width = (1, 9) if index == 0 else rng.integers(11, 260, 2)
        noise = rng.integers(0, 256, (height, width, 3))
        slope = np.add.outer(np.linspace(0, 200, height), np.linspace(55, 0, width))[:, :, None]
        made.append((slope + noise * rng.uniform(0, 0.9)).clip(0, 255).astype(np.uint8))
    return made


def yolo(picture, size):
    """Return what Ultralytics' LetterBox(auto=False) makes of it, in RGB."""
    import cv2

    high, wide = size
    ratio = min(high / picture.shape[0], wide / picture.shape[1])
    inner = max(1, round(picture.shape[1] * ratio)), max(1, round(picture.shape[0] * ratio))
    across, down = (wide - inner[0]) / 2, (high - inner[1]) / 2
    if picture.shape[1::-1] != inner:
        picture = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    edges = round(down - 0.1), round(down + 0.1), round(across - 0.1), round(across + 0.1)
    return cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=(114, 114, 114))


def paddle(picture, size):
    """Return what PaddleClas' ResizeImage(resize_short) and CropImage make of it; of squares."""
    import cv2

    (side, _), (height, width) = size, picture.shape[:2]
    ratio = float(int(side / 0.875)) / min(width, height)
    resized = cv2.resize(
        picture, (round(width * ratio), round(height * ratio)), interpolation=cv2.INTER_LINEAR
    )
    left, top = (resized.shape[1] - side) // 2, (resized.shape[0] - side) // 2
    return resized[top : top + side, left : left + side]


def torchvision(picture, size):
    """Return what torchvision's Resize and CenterCrop make of it; of squares."""
    from torchvision import transforms

    steps = transforms.Resize(int(size[0] / 0.875)), transforms.CenterCrop(size[0])
    return np.asarray(transforms.Compose(steps)(Image.fromarray(picture)))


def keras(picture, size):
    """Return what keras.utils.load_img(target_size=size) makes of it, in RGB."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.NEAREST))


def caffe(picture, size):
    """Return the same in the order of mode="caffe": BGR."""
    return keras(picture, size)[:, :, ::-1]


ORACLES = {
    "yolo": yolo, "paddle": paddle, "imagenet": torchvision, "half": torchvision, "tf": keras, "caffe": caffe
}  # fmt: skip
#: Those that say what becomes of a rectangle.
RECTANGLES = ("yolo", "tf", "caffe")


def sha256(frame: np.ndarray) -> str:
    """Return the beginning of a frame's hash."""
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()[:16]


def main() -> None:
    """Write the hashes."""
    import torch

    library = torch.library.Library("torchvision", "DEF")  # a PyTorch that lacks what it declares
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with open(GOLDEN, "w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["preparation", "input", *range(len(pictures()))])
        for name, oracle in ORACLES.items():
            for shape, size in INPUTS.items():
                if shape == "square" or name in RECTANGLES:
                    rows.writerow([name, shape, *(sha256(oracle(item, size)) for item in pictures())])


if __name__ == "__main__":
    main()
