import dataclasses

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.builtin import digits, digits_part
from edgecnn.data.dataset import Examples
from edgecnn.data.open_dataset import open_dataset
from edgecnn.data.split import Split, assign
from edgecnn.errors import DataError, InvalidValueError

PARTS = ("train", "validation", "test")


def pictures(folder, count, mode="RGB", first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        pixels = np.random.default_rng([index, *str(folder).encode()]).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{index}.png")


def files(dataset):
    """The files of each part, relative to the data set's folder."""
    return {
        part: {str(examples.images[row]).removeprefix(dataset.name) for row in range(len(examples))}
        for part in PARTS
        for examples in [getattr(dataset, part)]
    }


@pytest.fixture
def plain(tmp_path):
    """40 cats and 20 dogs, some of them deep below their folders."""
    pictures(tmp_path / "cat", 30)
    pictures(tmp_path / "cat" / "more" / "still", 10, first=30)
    pictures(tmp_path / "dog", 20)
    return tmp_path


@pytest.fixture
def divided(tmp_path):
    """Training, validation and test images."""
    for part, count in (("train", 20), ("val", 4), ("test", 6)):
        for name in ("cat", "dog"):
            pictures(tmp_path / part / name, count)
    return tmp_path


def test_the_digits_that_test_are_those_that_check():
    images, labels = digits_part(check=True)
    test = open_dataset("digits").test
    np.testing.assert_array_equal(test.images, images)
    np.testing.assert_array_equal(test.labels, labels)


def test_every_digit_is_in_one_part():
    dataset = open_dataset("digits")
    got = np.concatenate([getattr(dataset, part).images.reshape(-1, 64) for part in PARTS])
    expected = digits()[0].reshape(-1, 64)
    np.testing.assert_array_equal(got[np.lexsort(got.T)], expected[np.lexsort(expected.T)])


def test_validation_has_its_share_of_every_class():
    dataset = open_dataset("digits", validation=0.2)
    counts = [np.bincount(part.labels, minlength=10) for part in (dataset.train, dataset.validation)]
    np.testing.assert_allclose(counts[1] / (counts[0] + counts[1]), 0.2, atol=0.006)


def test_the_seed_chooses_the_validation_images():
    first, again, other = (open_dataset("digits", seed=seed).validation.images for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_validation_leaves_all_images_to_train():
    dataset = open_dataset("digits", validation=0)
    assert (len(dataset.train), len(dataset.validation)) == (899, 0)


def test_a_plain_folder_is_divided_by_class(plain):
    dataset = open_dataset(str(plain))
    counts = {part: np.bincount(getattr(dataset, part).labels).tolist() for part in PARTS}
    assert counts == {"train": [32, 16], "validation": [4, 2], "test": [4, 2]}
    assert dataset.labels == dataset.class_names == ("cat", "dog") and dataset.classes == 2


def test_every_file_is_in_one_part(plain):
    parts = files(open_dataset(str(plain)))
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 60


def test_one_file_more_moves_at_most_one_across_each_border(plain):
    before = files(open_dataset(str(plain)))
    pictures(plain / "dog", 1, first=99)
    after = files(open_dataset(str(plain)))
    for part in PARTS:
        assert len(before[part] - after[part]) <= 2


def test_the_split_does_not_depend_on_where_the_folder_is(plain, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "data"
    before = files(open_dataset(str(plain)))
    plain.rename(moved)
    assert files(open_dataset(str(moved))) == before


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ((), {"train": 40, "validation": 8, "test": 12}),
        (("val",), {"train": 36, "validation": 4, "test": 12}),
        (("test",), {"train": 36, "validation": 4, "test": 8}),
        (("val", "test"), {"train": 32, "validation": 4, "test": 4}),
    ],
)
def test_what_a_folder_does_not_divide_comes_out_of_train(divided, missing, expected):
    for part in missing:
        (divided / part).rename(divided.parent / f"{divided.name}_{part}")
    dataset = open_dataset(str(divided))
    assert {part: len(getattr(dataset, part)) for part in PARTS} == expected


def test_test_images_are_the_official_ones(divided):
    assert all(file.startswith("/test/") for file in files(open_dataset(str(divided)))["test"])


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "plane"):
        pictures(tmp_path / name, 10)
    assert open_dataset(str(tmp_path)).labels == ("plane", "train")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_grey_folders_have_one_channel(tmp_path, mode, channels):
    for name in ("a", "b"):
        pictures(tmp_path / name, 5, mode)
    assert open_dataset(str(tmp_path)).channels == channels


def change_nothing(folder):
    (folder / "notes.txt").write_text("seen")


def add_a_file(folder):
    pictures(folder / "cat", 1, first=77)


def rename_a_class(folder):
    (folder / "cat").rename(folder / "lion")


def rewrite_a_file(folder):
    Image.new("RGB", (40, 40)).save(folder / "cat" / "0.png")


@pytest.mark.parametrize(
    ("change", "same"),
    [(change_nothing, True), (add_a_file, False), (rename_a_class, False), (rewrite_a_file, False)],
)
def test_the_fingerprint_changes_with_what_is_held(plain, change, same):
    before = open_dataset(str(plain)).sha256
    change(plain)
    assert (open_dataset(str(plain)).sha256 == before) is same


def test_the_fingerprint_does_not_depend_on_the_split():
    assert open_dataset("digits", seed=1).sha256 == open_dataset("digits", seed=2, validation=0.3).sha256


def one_class(folder):
    pictures(folder / "cat", 9)


def one_image(folder):
    pictures(folder / "cat", 9)
    pictures(folder / "dog", 1)


def no_folders(folder):
    pictures(folder, 9)


def two_validations(folder):
    for part in ("train", "val", "validation"):
        pictures(folder / part / "cat", 3)


def strange_test_class(folder):
    for path in ("train/cat", "train/dog", "test/cow"):
        pictures(folder / path, 3)


def two_of_each(folder):
    pictures(folder / "cat", 2)
    pictures(folder / "dog", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (one_class, "holds one class, cat"),
        (one_image, "dog holds one image"),
        (no_folders, "holds no class folders"),
        (two_validations, "holds validation and val"),
        (strange_test_class, "cow is a class that the training images do not have"),
        (two_of_each, "too few images to train, to validate and to test"),
    ],
)
def test_a_folder_that_cannot_train_is_one_clear_error(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path))


def test_an_unknown_name_suggests_its_neighbours():
    with pytest.raises(DataError, match="no data set minst") as caught:
        open_dataset("minst")
    assert "mnist" in caught.value.hint


@pytest.mark.parametrize("options", [{"validation": 0.9}, {"validation": -0.1}, {"seed": -1}])
def test_splits_that_cannot_be_are_refused(options):
    with pytest.raises(InvalidValueError):
        open_dataset("digits", **options)


def test_a_class_of_three_has_one_image_in_each_part():
    labels, keys = np.repeat([0, 1], 3), np.arange(6)
    np.testing.assert_array_equal(assign(labels, keys, (0.1, 0.1)), [1, 2, 0, 1, 2, 0])


def test_the_order_of_files_depends_on_the_seed_and_the_name_alone():
    first, more = Split(1).keys(["a", "b"]), Split(1).keys(["b", "c", "a"])
    np.testing.assert_array_equal(first, more[[2, 0]])
    assert (Split(2).keys(["a", "b"]) != first).all()


def test_examples_need_a_label_each():
    with pytest.raises(DataError, match="2 images have 3 labels"):
        Examples(["a", "b"], np.arange(3))


def test_a_data_set_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        open_dataset("digits").name = "else"
