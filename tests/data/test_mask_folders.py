"""Folders of images and masks: which belong together, what their values are, and what is left out."""

import shutil

import labelled_pictures as made
import numpy as np
import pytest
from labelled_pictures import HIGH, WIDE, mask, png, write
from PIL import Image

from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError

PARTS = {"train": range(20), "val": range(20, 26), "test": range(30, 33)}


@pytest.fixture
def stored(tmp_path):
    return made.write_masks(tmp_path / "set", PARTS)


@pytest.fixture
def plain(tmp_path):
    """A folder without parts, and without names of the classes."""
    root = made.write_masks(tmp_path / "plain", {"train": range(20)})
    (root / "classes.txt").unlink()
    for name in ("images", "masks"):
        shutil.move(root / "train" / name, root / name)
    (root / "train").rmdir()
    return root


def test_masks_are_as_they_were_written(stored):
    data = open_dataset(str(stored))
    assert (data.task, data.labels, data.notes) == ("segmentation", ("nothing", "cat", "dog"), ())
    for part, numbers in zip((data.train, data.validation, data.test), PARTS.values(), strict=True):
        assert len(part) == len(numbers)
        for row in range(len(part)):
            assert np.array_equal(part.labels[row], mask(int(part.images[row].stem)))


def test_without_names_the_values_are_the_classes(plain):
    data = open_dataset(str(plain))
    assert data.labels == ("0", "1", "2") and all(map(len, (data.train, data.validation, data.test)))


def test_masks_of_black_and_white_have_two_classes(plain):
    for file in (plain / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(file)) == 1, 255, 0).astype(np.uint8)).save(file)
    data = open_dataset(str(plain))
    assert data.labels == ("0", "1")
    assert set().union(*(np.unique(label) for label in data.train.labels)) == {0, 1}


def test_palettes_give_their_indices_and_colours_what_classes_txt_says(stored):
    for file in stored.rglob("masks/*.png"):
        values = np.asarray(Image.open(file))
        if "train" in file.parts:
            picture = Image.fromarray(values).convert("P")
            picture.putpalette([7, 7, 7, 9, 9, 9, 200, 0, 0] + [0, 0, 0] * 253)
            picture = (
                Image.fromarray(values, "P") if np.asarray(picture).tolist() != values.tolist() else picture
            )
        else:
            picture = Image.fromarray(
                np.uint8([[0, 0, 0], [9, 9, 9], [200, 0, 0]])[np.where(values > 2, 0, values)]
            )
        picture.save(file)
    write(stored / "classes.txt", "nothing 0 0 0\ncat 9 9 9\ndog 200 0 0\n")
    data = open_dataset(str(stored))
    assert data.labels == ("nothing", "cat", "dog")
    assert np.array_equal(data.train.labels[0], mask(int(data.train.images[0].stem)))
    seen = mask(int(data.test.images[0].stem))
    assert np.array_equal(data.test.labels[0], np.where(seen == 255, 0, seen))


def test_vocs_layout_is_divided_by_its_lists(tmp_path):
    for n in range(20):
        write(tmp_path / f"JPEGImages/{n}.png", png(made.pixels(n)))
        write(tmp_path / f"SegmentationClass/{n}.png", png(mask(n)))
    write(tmp_path / "ImageSets/Segmentation/train.txt", "".join(f"{n}\n" for n in range(12)))
    write(tmp_path / "ImageSets/Segmentation/val.txt", "".join(f"{n}\n" for n in range(12, 16)) + "99\n")
    data = open_dataset(str(tmp_path))
    assert len(data.test) == 4 and len(data.train) + len(data.validation) == 12
    assert any("listed images left out without a mask: 1 (99)" in note for note in data.notes)


def test_halves_and_other_sizes_are_left_out_and_named(plain):
    (plain / "masks/0.png").unlink()
    (plain / "images/1.png").unlink()
    write(plain / "masks/2.png", png(mask(2)[:-1]))
    data = open_dataset(str(plain))
    notes = " | ".join(data.notes)
    assert "images left out without a mask: 1 (0.png)" in notes
    assert "masks left out without an image: 1 (1.png)" in notes
    assert f"another size: 1 (2.png: {HIGH} x {WIDE} and {HIGH - 1} x {WIDE})" in notes
    assert sum(map(len, (data.train, data.validation, data.test))) == 17


def test_a_value_beyond_the_classes_names_the_mask(stored):
    write(stored / "classes.txt", "nothing\ncat\n")
    data = open_dataset(str(stored))
    row = next(row for row in range(len(data.train)) if 2 in mask(int(data.train.images[row].stem)))
    with pytest.raises(DataError, match="pixels of the value 2, and there are 2 classes"):
        data.train.labels[row]


def test_colours_that_nothing_explains_are_one_clear_error(plain):
    for file in (plain / "masks").iterdir():
        Image.open(file).convert("RGB").save(file)
    with pytest.raises(DataError, match="is in colour") as caught:
        open_dataset(str(plain))
    assert "classes.txt" in caught.value.hint


def test_a_folder_without_any_pair_is_one_clear_error(plain):
    shutil.rmtree(plain / "masks")
    (plain / "masks").mkdir()
    with pytest.raises(DataError, match="has no image with a mask"):
        open_dataset(str(plain))
