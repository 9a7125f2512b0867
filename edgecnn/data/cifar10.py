"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in ten classes (Krizhevsky 2009), its binary version."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import DataSet, Examples, fingerprint
from edgecnn.data.download import RemoteFile, fetch
from edgecnn.data.split import Split, complete
from edgecnn.errors import DataError
from edgecnn.progress import Progress

#: The author's server, its new address, and the mirrors of Swift for TensorFlow and of MindSpore.
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz",
    "https://cave.cs.toronto.edu/kriz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets",
)
FILE = RemoteFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
#: Files of the archive per part.
_MEMBERS = {
    "train": tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("cifar-10-batches-bin/test_batch.bin",),
}
#: A record is the class, then the red, the green and the blue plane.
_RECORD = 1 + 3 * 32 * 32


def read_archive(path: Path) -> dict[str, Examples]:
    """Return the parts "train" and "test" of the archive; nothing is unpacked to disk. Raises DataError."""
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                stream = archive.extractfile(member)
                if stream is not None and member.name.endswith(".bin"):
                    content[member.name] = stream.read()
        return {part: _records([content[name] for name in names]) for part, names in _MEMBERS.items()}
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is not CIFAR-10's binary version: {error}", hint="delete it: it is downloaded again"
        ) from error


def _records(files: list[bytes]) -> Examples:
    records: npt.NDArray[np.uint8] = np.frombuffer(b"".join(files), np.uint8).reshape(-1, _RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = records[:, 0].astype(np.int64)
    if labels.max(initial=0) >= len(CLASSES):
        raise ValueError(f"it names a class {labels.max()}")
    return Examples(np.ascontiguousarray(images), labels)


def open_cifar10(name: str, split: Split, progress: Progress) -> DataSet:
    """Return CIFAR-10 with its own 10,000 test images; downloaded once."""
    given = read_archive(fetch("cifar10", FILE, MIRRORS, progress))
    keys = np.random.default_rng(split.seed).random(len(given["train"]))
    return DataSet(
        name, CLASSES, 3, *complete(name, given, keys, split), fingerprint(given["train"], given["test"])
    )
