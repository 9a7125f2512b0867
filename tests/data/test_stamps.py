"""Composed pictures: boxes and masks are exact, parts share nothing, and all of it is the same each time."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgecnn.data import stamps, stamps_dataset
from edgecnn.data.open_dataset import check_name, open_dataset
from edgecnn.data.stamps import CLASSES, PARTS, STAMPS, Stamps
from edgecnn.errors import DataError

installed = pytest.mark.skipif(not STAMPS.is_dir(), reason=f"no cut-outs here: apt install {stamps.PACKAGE}")


@pytest.fixture(scope="module")
def train():
    if not STAMPS.is_dir():
        pytest.skip(f"no cut-outs here: apt install {stamps.PACKAGE}")
    return Stamps("train", 96)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def few(monkeypatch, cache):
    monkeypatch.setattr(stamps_dataset, "COUNTS", {"train": 6, "validation": 2, "test": 3})
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_boxes_are_around_the_masks_pixels(train):
    for number in range(40):
        made = train.compose(number)
        covered = np.zeros(made.mask.shape, bool)
        for (x0, y0, x1, y1), label in zip(made.boxes.corners.astype(int), made.boxes.classes, strict=True):
            inside = made.mask[y0:y1, x0:x1] == 1 + label
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            covered[y0:y1, x0:x1] = True
        assert not made.mask[~covered].any()
        assert set(np.unique(made.mask)) - {0} == set(1 + made.boxes.classes)


def test_a_picture_depends_on_its_part_its_number_and_its_size_alone(train):
    def digest(made) -> str:
        return hashlib.sha256(
            made.pixels.tobytes() + made.mask.tobytes() + made.boxes.corners.tobytes()
        ).hexdigest()

    first = [digest(train.compose(number)) for number in (5, 6)]
    again = Stamps("train", 96)
    assert [digest(again.compose(6)), digest(again.compose(5))] == first[::-1]
    assert digest(Stamps("test", 96).compose(5)) not in first


@installed
def test_parts_share_no_cut_out_and_no_region():
    for files in stamps.cut_out_files():
        shares = [set(stamps._share(files, part)) for part in PARTS]
        assert all(shares) and sum(map(len, shares)) == len(set.union(*shares)) == len(files)
    widths = [[item.width for item in Stamps(part, 32)._photos] for part in PARTS]
    from edgecnn.data.builtin import photo
    from edgecnn.runtime.image_files import open_image

    whole = [open_image(photo(name)).width for name in stamps.PHOTOS]
    assert np.sum(widths, axis=0)[:-1].tolist() == whole


def test_hidden_objects_count_nowhere_and_every_class_is_there(train):
    made = [train.compose(number).boxes for number in range(150)]
    classes = np.concatenate([item.classes for item in made])
    crowd = np.concatenate([item.crowd for item in made])
    assert set(classes) == set(range(len(CLASSES))) and 0.005 < crowd.mean() < 0.1
    sides = np.concatenate([item.corners[:, 2:] - item.corners[:, :2] for item in made])
    assert sides.min() >= 1 and sides.max() <= 96


@installed
@pytest.mark.parametrize("name, task", [("stamps:64", "detection"), ("stamps-masks:64", "segmentation")])
def test_a_set_is_made_once_and_then_read(few, name, task, monkeypatch):
    data = open_dataset(name)
    assert (data.task, data.channels, len(data.train), len(data.test)) == (task, 3, 6, 3)
    assert data.train.images.shape == (6, 64, 64, 3)
    assert ("background" in data.labels) == (task == "segmentation") and "bird" in data.labels
    made = Stamps("test", 64).compose(2)
    assert np.array_equal(data.test.images[2], made.pixels)
    label, expected = data.test.labels[2], made.mask if task == "segmentation" else made.boxes.corners
    assert np.array_equal(getattr(label, "corners", label), expected)
    monkeypatch.setattr(Stamps, "compose", None)
    again = open_dataset(name, seed=3)
    assert again.sha256 == data.sha256 and np.array_equal(again.train.images, data.train.images)


@installed
def test_a_damaged_cache_is_made_anew(few, cache):
    before = open_dataset("stamps:64").sha256
    file = next(cache.rglob("validation.npz"))
    file.write_bytes(file.read_bytes()[:-100])
    assert open_dataset("stamps:64").sha256 == before


@pytest.mark.parametrize("name", ["stamps:", "stamps:9999", "stamps:-3", "stamps-masks:big"])
def test_a_size_that_cannot_be_is_one_clear_error(name, few):
    if name == "stamps:":
        assert check_name(name)
        return
    with pytest.raises(DataError, match="says no size of pictures"):
        open_dataset(name)


def test_where_the_cut_outs_are_missing_a_hint_says_what_to_install(monkeypatch, few):
    monkeypatch.setattr(stamps, "STAMPS", Path("/nowhere"))
    with pytest.raises(DataError, match="are not in /nowhere") as caught:
        open_dataset("stamps")
    assert caught.value.hint == "apt install tuxpaint-stamps-default"
