"""Real images that are on every machine with the `export` extra: photographs and handwritten digits.

The photographs are those inside the wheels of scikit-image and scikit-learn. They are split once
and for all by photograph: what calibrates a network is never what checks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data.crops import random_crops
from edgecnn.data.dataset import DataSet, Examples, fingerprint
from edgecnn.data.split import Split, complete
from edgecnn.optional_packages import package_folder
from edgecnn.progress import Progress
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.preprocessing import Preprocessing

#: Photographs for calibration and for batch-norm statistics: package folder / file.
CALIBRATION_PHOTOS = (
    "skimage/data/astronaut.png", "skimage/data/rocket.jpg", "skimage/data/motorcycle_left.png",
    "skimage/data/hubble_deep_field.jpg", "skimage/data/ihc.png", "skimage/data/retina.jpg",
    "skimage/data/brick.png", "skimage/data/gravel.png", "sklearn/datasets/images/china.jpg",
)  # fmt: skip
#: Photographs for every comparison.
CHECK_PHOTOS = (
    "skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/camera.png",
    "skimage/data/grass.png", "skimage/data/coins.png", "sklearn/datasets/images/flower.jpg",
)  # fmt: skip

_PURPOSE = "reading the built-in images"


def photo(name: str) -> Path:
    """Return the path of a photograph, "skimage/data/coffee.png" for instance."""
    package, _, rest = name.partition("/")
    return package_folder(package, _PURPOSE) / rest


def digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return scikit-learn's 1,797 handwritten digits: images (1797, 8, 8), 0..255, and labels.

    Source: UCI optical recognition of handwritten digits, test part.
    """
    # Read from the package's file: importing scikit-learn takes a second.
    table = np.loadtxt(
        package_folder("sklearn", _PURPOSE) / "datasets/data/digits.csv.gz", delimiter=",", dtype=np.int64
    )
    pixels = (table[:, :-1].reshape(-1, 8, 8) * 255 + 8) // 16
    return pixels.astype(np.uint8), table[:, -1]


def digits_part(*, check: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the odd rows of the digits, which check (and test), or the even rows, which train."""
    images, labels = digits()
    return images[int(check) :: 2], labels[int(check) :: 2]


def open_digits(name: str, split: Split, progress: Progress) -> DataSet:
    """Return the digits as a data set; the validation images are even rows."""
    train, test = (Examples(*digits_part(check=check)) for check in (False, True))
    keys = np.random.default_rng(split.seed).random(len(train))
    parts = complete(name, {"train": train, "test": test}, keys, split)
    return DataSet(name, "digits", 1, *parts, sha256=fingerprint(train, test))


def stream(
    preprocessing: Preprocessing, count: int, *, check: bool, digit_images: bool, seed: int = 0
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield `count` frames, each (size, size, channels) uint8, for calibration or for checking.

    Seeded crops of the photographs, or digits for networks that read digits: even rows calibrate,
    odd rows check; there are about 900 of each, and no more are given.
    """
    if digit_images:
        images, _ = digits_part(check=check)
        chosen = np.random.default_rng(seed).permutation(len(images))[:count]
        return (prepare.frame(preprocessing, images[index]) for index in chosen)
    photos = [open_image(photo(name)) for name in (CHECK_PHOTOS if check else CALIBRATION_PHOTOS)]
    return random_crops(photos, preprocessing, count, seed=seed + int(check))


def frames(
    preprocessing: Preprocessing, count: int, *, check: bool, digit_images: bool, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Return what `stream` yields as one array, (count, size, size, channels) uint8."""
    return np.stack(list(stream(preprocessing, count, check=check, digit_images=digit_images, seed=seed)))
