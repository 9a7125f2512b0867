import numpy as np
import pytest
from PIL import Image

from edgecnn.data import builtin
from edgecnn.data.folder import CHECK_SHARE, labelled, split
from edgecnn.errors import DataError
from edgecnn.runtime.preprocessing import Preprocessing

SMALL = Preprocessing(32)


def test_no_photograph_both_calibrates_and_checks():
    assert not set(builtin.CALIBRATION_PHOTOS) & set(builtin.CHECK_PHOTOS)
    for name in (*builtin.CALIBRATION_PHOTOS, *builtin.CHECK_PHOTOS):
        assert builtin.photo(name).is_file()


def test_no_digit_both_calibrates_and_checks():
    grey = SMALL.with_channels(1)
    calibrate, check = (
        {frame.tobytes() for frame in builtin.frames(grey, 300, check=check, digit_images=True)}
        for check in (False, True)
    )
    assert len(calibrate) > 290 and not calibrate & check


def test_crops_are_repeatable_different_and_change_with_the_seed():
    first, again, other = (
        builtin.frames(SMALL, 20, check=True, digit_images=False, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({frame.tobytes() for frame in first}) == 20


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    expected = load_digits()
    images, labels = builtin.digits()
    np.testing.assert_array_equal(labels, expected.target)
    np.testing.assert_array_equal(np.rint(images / 255 * 16), expected.images)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures in two class folders."""
    for index in range(10):
        path = tmp_path / ("cat" if index % 2 else "dog") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(path)
    return tmp_path


def test_every_fifth_image_of_a_folder_is_kept_for_the_check(folder):
    found = split(folder)
    assert len(found.check) == 10 // CHECK_SHARE and len(found.calibration) + len(found.check) == 10
    assert not set(found.calibration) & set(found.check) and not found.notes
    assert split(folder) == found != split(folder, seed=1)


def test_too_few_images_to_split_is_one_clear_error(folder):
    for file in list(folder.rglob("*.png"))[:5]:
        file.unlink()
    with pytest.raises(DataError, match="holds 5 images: too few"):
        split(folder)


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [(["dog", "bird", "cat"], 3, {0, 2}), ([], 2, {0, 1})],
)
def test_class_folders_are_matched_by_label_else_by_order(folder, names, classes, expected):
    dataset = labelled(str(folder), classes, names)
    assert set(dataset.labels) == expected
    cats = {label for image, label in zip(dataset.images, dataset.labels, strict=True) if "cat" in str(image)}
    assert cats == ({2} if classes == 3 else {0})


def test_class_folders_that_match_nothing_are_one_clear_error(folder):
    with pytest.raises(DataError, match="2 class folders for a network of 1000 classes"):
        labelled(str(folder), 1000, ["tench"] * 1000)


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_a_data_set_that_is_none_is_one_clear_error(tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        labelled(str(tmp_path / source), 10)


def test_of_a_folder_that_is_divided_the_test_images_are_taken(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("divided")
    for part in ("train", "val", "test"):
        (root / part).symlink_to(folder, target_is_directory=True)
    dataset = labelled(str(root), 2)
    assert len(dataset.images) == 10 and "/test/" in str(dataset.images[0])


def test_of_a_data_set_the_test_images_are_taken():
    dataset = labelled("digits", 10, list("0123456789"))
    images, labels = builtin.digits_part(check=True)
    np.testing.assert_array_equal(dataset.images, images)
    assert list(dataset.labels) == labels.tolist()


def test_a_data_sets_classes_are_matched_by_label():
    _, labels = builtin.digits_part(check=True)
    assert labelled("digits", 12, ["x", "y", *"9876543210"]).labels.tolist() == (11 - labels).tolist()


def test_a_data_set_with_other_classes_is_one_clear_error():
    with pytest.raises(DataError, match="digits has 10 classes, this network has 1000"):
        labelled("digits", 1000, ["tench"] * 1000)
