"""Samples from files: an array for each input, labels beside them, and what is refused."""

import numpy as np
import pytest

from edgecnn.artifact import TensorSpec
from edgecnn.data.sample_files import holds_samples, list_samples, read_labels, read_samples
from edgecnn.errors import DataError
from edgecnn.runtime.samples import unpack

IMAGE = TensorSpec("x", ("n", 3, 4, 4), "float32", "NCHW")
IDS = TensorSpec("ids", ("n", 5), "int64", "NC")
LIMIT = TensorSpec("limit", (), "float32", "")
SPECS = [IMAGE, IDS, LIMIT]


def sample(index=0, **changes):
    values = {"x": np.full((3, 4, 4), index, np.float32), "ids": np.arange(5), "limit": np.float32(0.5)}
    return {**values, **changes}


def written(folder, rows):
    for index, row in enumerate(rows):
        np.savez(folder / f"{index}.npz", **row)
    return list_samples(folder)


def test_each_file_is_one_sample_of_all_inputs(tmp_path):
    files = written(tmp_path, [sample(index) for index in range(3)])
    assert holds_samples(tmp_path) and not holds_samples(tmp_path / "none")
    samples = read_samples(files, SPECS)
    given = unpack(samples, SPECS)
    assert len(samples) == 3 and given["x"].shape == (3, 3, 4, 4) and given["x"][2].max() == 2
    assert given["ids"].shape == (3, 5) and given["ids"].dtype == np.int64
    assert given["limit"].shape == () and given["limit"] == 0.5


def test_one_input_is_a_plain_array_with_or_without_its_batch(tmp_path):
    files = written(tmp_path, [{"x": np.ones((3, 4, 4))}, {"x": np.ones((1, 3, 4, 4))}])
    assert read_samples(files, [IMAGE]).shape == (2, 3, 4, 4)


def test_what_is_no_input_is_the_label(tmp_path):
    files = written(tmp_path, [sample(label=index) for index in range(3)])
    assert read_labels(files, SPECS).tolist() == [0, 1, 2]
    files = written(tmp_path, [sample(a=1, b=[2, 3]) for _ in range(3)])
    assert read_labels(files, SPECS)["b"].shape == (3, 2)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (sample(x=np.ones((4, 4, 3))), "the network takes 3 x 4 x 4"),
        ({"x": np.ones((3, 4, 4))}, "has no array 'ids', 'limit'"),
        (sample(ids=np.linspace(0, 1, 5)), "'ids' is float64, the network takes int64"),
        (sample(x=np.full((3, 4, 4), np.nan)), "not finite"),
        (sample(limit=np.float32(2)), "is one for a whole batch, but differs"),
    ],
)
def test_a_sample_that_does_not_fit_is_named(tmp_path, row, why):
    files = written(tmp_path, [sample(), row])
    with pytest.raises(DataError, match=why):
        read_samples(files, SPECS)


def test_samples_of_several_sizes_are_told_apart(tmp_path):
    free = TensorSpec("x", ("n", "length"), "float32", "NC")
    files = written(tmp_path, [{"x": np.ones(4)}, {"x": np.ones(6)}])
    with pytest.raises(DataError, match="of several sizes, such as 4 and 6"):
        read_samples(files, [free])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "0.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"0\.npz is no \.npz file"):
        read_samples(list_samples(tmp_path), SPECS)


def test_a_file_that_holds_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "0.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        read_samples(list_samples(tmp_path), [IMAGE])


def test_an_empty_folder_and_missing_labels_are_said(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        list_samples(tmp_path)
    with pytest.raises(DataError, match="without labels"):
        read_labels(written(tmp_path, [sample()]), SPECS)
