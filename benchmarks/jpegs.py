"""JPEG files of the size that a camera's preview has, for the benchmarks that decode."""

from pathlib import Path

from PIL import Image

from edgecnn.data import builtin
from edgecnn.data.crops import random_crops
from edgecnn.runtime import Preprocessing, open_image

SIDE = 512


def write_jpegs(folder: Path, count: int) -> list[Path]:
    """Write so many crops of the built-in photographs, and return their paths."""
    photos = [open_image(builtin.photo(name)) for name in builtin.CALIBRATION_PHOTOS]
    crops = random_crops(photos, Preprocessing(SIDE), count, seed=0)
    paths = []
    for number, crop in enumerate(crops):
        paths.append(folder / f"{number:03}.jpg")
        Image.fromarray(crop).save(paths[-1], quality=90)
    return paths
