"""MNIST and CIFAR-10 in their real formats, but small, from a server on this machine."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest
from mirror import Mirror, serve

from edgecnn.data import cifar10, mnist
from edgecnn.data.download import RemoteFile
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError


def remote(name, content):
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes())


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path))
    with serve(Mirror()) as mirror:
        monkeypatch.setenv("EDGECNN_DATA_MIRROR", mirror.url)
        yield mirror


@pytest.fixture
def small_mnist(server, monkeypatch):
    """60 and 20 random images; what is inside by part."""
    rng = np.random.default_rng(0)
    content, files = {}, {}
    for part, count in (("train", 60), ("test", 20)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        content[part] = images, labels
        rows = []
        for row, array in zip(mnist.FILES[part], content[part], strict=True):
            server.files[f"/mnist/{row.name}"] = idx(array)
            rows.append(remote(row.name, idx(array)))
        files[part] = tuple(rows)
    monkeypatch.setattr(mnist, "FILES", files)
    return content


@pytest.fixture
def small_cifar10(server, monkeypatch):
    """10 random images per batch; (images, labels) of the test batch."""
    rng = np.random.default_rng(0)
    members, kept = {"readme.html": b"<html>"}, None
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        images = rng.integers(0, 256, (10, 32, 32, 3), np.uint8)
        labels = np.arange(10, dtype=np.uint8)
        planes = images.transpose(0, 3, 1, 2).reshape(10, -1)
        members[name] = np.concatenate([labels[:, None], planes], axis=1).tobytes()
        kept = images, labels
    content = archive(members)
    server.files["/cifar10/cifar-10-binary.tar.gz"] = content
    monkeypatch.setattr(cifar10, "FILE", remote("cifar-10-binary.tar.gz", content))
    return kept


def test_mnists_test_images_are_its_own(small_mnist):
    dataset = open_dataset("mnist")
    np.testing.assert_array_equal(dataset.test.images, small_mnist["test"][0])
    np.testing.assert_array_equal(dataset.test.labels, small_mnist["test"][1])


def test_mnists_training_images_keep_their_labels(small_mnist):
    train = open_dataset("mnist").train
    images, labels = small_mnist["train"]
    for image, label in zip(train.images, train.labels, strict=True):
        assert labels[(images == image).all(axis=(1, 2))] == label


def test_mnist_is_grey_digits(small_mnist):
    dataset = open_dataset("mnist")
    assert (dataset.labels, dataset.channels, dataset.classes) == ("digits", 1, 10)


def test_cifar10s_test_images_are_its_own(small_cifar10):
    test = open_dataset("cifar10").test
    np.testing.assert_array_equal(test.images, small_cifar10[0])
    np.testing.assert_array_equal(test.labels, small_cifar10[1])


def test_cifar10_has_five_batches_to_train_and_validate(small_cifar10):
    dataset = open_dataset("cifar10")
    assert (len(dataset.train), len(dataset.validation)) == (40, 10)
    assert dataset.class_names[3] == "cat" and dataset.channels == 3


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08"),
        gzip.compress(b"\0\0\x0d\x01\0\0\0\x01\0"),
        idx(np.zeros((4, 4), np.uint8))[:-9],
        gzip.compress(gzip.decompress(idx(np.zeros((4, 4), np.uint8))) + b"more"),
        gzip.compress(b"\0\0\x08\x03\0\0"),
    ],
    ids=["no gzip", "empty", "no dimensions", "floats", "cut", "too long", "cut header"],
)
def test_a_damaged_idx_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz is"):
        mnist.read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive({"readme.html": b""}),
        archive({"readme.html": b"x" * 9999})[:-40],
        archive({f"data_batch_{n}.bin": b"x" for n in range(1, 6)}),
        archive({f"data_batch_{n}.bin": b"\x0a" * 3073 for n in range(1, 6)}),
    ],
    ids=["no archive", "other files", "cut", "short records", "eleventh class"],
)
def test_a_damaged_archive_is_one_clear_error(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match="not CIFAR-10's binary version"):
        cifar10.read_archive(tmp_path / "a.tar.gz")
