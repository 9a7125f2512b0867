"""MNIST: 70,000 handwritten digits of 28 x 28 grey pixels (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import DataSet, Examples, fingerprint
from edgecnn.data.download import RemoteFile, fetch
from edgecnn.data.split import Split, complete
from edgecnn.errors import DataError
from edgecnn.progress import Progress

#: LeCun's own server asks for a password now. The first is PyTorch's mirror, the second TensorFlow's.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
#: (images, labels) per part.
FILES = {
    "train": (
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
    ),
    "test": (
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
}


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes of a gzipped IDX file as an array of the file's own shape; raises DataError.

    The format: two zeros, the type (8 for bytes), the number of dimensions, the dimensions as
    big-endian 32-bit integers, the bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}", hint="delete it: it is downloaded again") from error
    dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:start].ljust(4 * dimensions, b"\0"), ">u4").tolist()
    if not dimensions or len(content) - start != math.prod(shape):
        raise DataError(f"{path} is not an IDX file of bytes", hint="delete it: it is downloaded again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def open_mnist(name: str, split: Split, progress: Progress) -> DataSet:
    """Return MNIST with its own 10,000 test images; downloaded once."""
    given = {}
    for part, files in FILES.items():
        images, labels = (read_idx(fetch("mnist", file, MIRRORS, progress)) for file in files)
        given[part] = Examples(images, labels.astype(np.int64))
    keys = np.random.default_rng(split.seed).random(len(given["train"]))
    return DataSet(
        name, "digits", 1, *complete(name, given, keys, split), fingerprint(given["train"], given["test"])
    )
