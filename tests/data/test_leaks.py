"""No picture stands on both sides of a split, and what is no data is left out and said."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data import identity
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.folder import labelled, split
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError
from edgecnn.runtime.image_folder import list_folder
from edgecnn.runtime.preprocessing import Preprocessing

#: Which files test and validate in `plain`, seed 0, since splits are made.
TESTED = ["cat/16.png", "cat/19.png", "dog/14.png", "dog/9.png"]
VALIDATED = ["cat/0.png", "cat/1.png", "dog/12.png", "dog/18.png"]


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)).save(path)


@pytest.fixture
def plain(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for index in range(20):
            picture(tmp_path / "set" / name / f"{index}.png", 100 * label + index)
    return tmp_path / "set"


def contents(examples) -> set[bytes]:
    return {Path(examples.images[row]).read_bytes() for row in range(len(examples))}


def names(examples, root) -> list[str]:
    return sorted(Path(examples.images[row]).relative_to(root).as_posix() for row in range(len(examples)))


def test_a_set_without_copies_is_split_as_ever(plain):
    dataset = open_dataset(str(plain))
    assert names(dataset.test, plain) == TESTED
    assert names(dataset.validation, plain) == VALIDATED
    assert not dataset.notes


@pytest.mark.parametrize(
    "place",
    [".ipynb_checkpoints", ".git/objects", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"],
)
def test_hidden_and_system_folders_are_no_data(plain, place):
    shutil.copytree(plain / "cat", plain / "cat" / place)
    shutil.copytree(plain / "dog", plain / place / "dog")
    for name in ("._1.png", ".1.png"):
        shutil.copy(plain / "cat" / "1.png", plain / "cat" / name)
    dataset = open_dataset(str(plain))
    assert names(dataset.test, plain) == TESTED and dataset.classes == 2
    (note,) = dataset.notes
    assert note.startswith("42 files in hidden and system folders") and place.split("/")[0] in note
    assert len(labelled(str(plain), 2, ["cat", "dog"]).images) == 40
    assert len(list_folder(plain).images) == 40


def test_copies_of_a_picture_are_on_one_side_and_counted(plain):
    for index in range(20):
        shutil.copy(plain / "cat" / f"{index}.png", plain / "cat" / f"copy of {index}.png")
    dataset = open_dataset(str(plain))
    train, validation, test = map(contents, (dataset.train, dataset.validation, dataset.test))
    assert not train & test and not train & validation and not validation & test
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 60
    assert set(TESTED) <= set(names(dataset.test, plain))  # nothing else moved
    assert any(note.startswith("20 images are copies of others") for note in dataset.notes)


def test_a_copy_in_another_class_is_named(plain):
    shutil.copy(plain / "cat" / "16.png", plain / "dog" / "stray.png")
    dataset = open_dataset(str(plain))
    assert "dog/stray.png" in names(dataset.test, plain)
    assert any("copies with other classes" in note and "stray.png" in note for note in dataset.notes)


def test_of_a_divided_set_what_tests_does_not_train(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "divided" / "train")
    for name in ("cat", "dog"):
        for index in range(3):
            place = tmp_path / "divided" / "test" / name / f"other name {index}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(plain / name / f"{index}.png", place)
    dataset = open_dataset(str(tmp_path / "divided"))
    assert len(dataset.test) == 6
    assert not contents(dataset.test) & (contents(dataset.train) | contents(dataset.validation))
    assert any("6 images of the part train left out" in note for note in dataset.notes)


def test_calibration_and_check_share_no_picture(plain):
    for index in range(20):
        shutil.copy(plain / "cat" / f"{index}.png", plain / "dog" / f"copy of {index}.png")
    found = split(plain)
    chosen = [{path.read_bytes() for path in part} for part in (found.calibration, found.check)]
    assert not chosen[0] & chosen[1] and sum(map(len, chosen)) == 40
    assert any("20 of the images" in note for note in found.notes)


def test_files_are_read_where_sizes_in_bytes_are_equal_and_decoded_where_those_in_pixels_are(
    plain, monkeypatch
):
    files = sorted(plain.rglob("*.png"))
    for number, file in enumerate(files):
        Image.open(file).resize((6, 6 + number)).save(file)
        file.write_bytes(file.read_bytes() + bytes(2000 - file.stat().st_size + number))
    shutil.copy(files[3], plain / "cat" / "copy.png")
    Image.open(files[5]).save(plain / "cat" / "again.bmp")
    files += [plain / "cat" / "copy.png", plain / "cat" / "again.bmp"]
    looked: dict[str, list[Path]] = {"read_file": [], "open_image": []}
    for name, paths in looked.items():
        own = getattr(identity, name)
        monkeypatch.setattr(
            identity, name, lambda path, own=own, paths=paths: paths.append(path) or own(path)
        )
    found = identity.find_copies(files, [file.stat().st_size for file in files])
    assert sorted(looked["read_file"]) == sorted([files[3], files[-2]])
    assert sorted(looked["open_image"]) == sorted([files[5], files[-1]])
    assert found.rows.tolist() == [40, 41] and found.firsts[40:].tolist() == [3, 5] and not found.note


# ---- a picture that was saved anew without loss


def with_turn(picture: Image.Image, file: Path) -> None:
    """A picture that lies on its side, and says how it is turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(file.with_suffix(".png"), exif=exif)


def with_alpha(picture: Image.Image, file: Path) -> None:
    """What was white is transparent: composed on white it is what it was."""
    pixels = np.asarray(picture)
    clear = (pixels == 255).all(axis=2)
    hidden = np.where(clear[..., None], 40, pixels)
    alpha = np.where(clear, 0, 255)[..., None]
    Image.fromarray(np.concatenate([hidden, alpha], 2).astype(np.uint8)).save(file.with_suffix(".png"))


AGAIN = {
    "bmp": lambda picture, file: picture.save(file.with_suffix(".bmp")),
    "webp": lambda picture, file: picture.save(file.with_suffix(".webp"), lossless=True),
    "tiff": lambda picture, file: picture.save(file.with_suffix(".tif"), compression="tiff_lzw"),
    "recompressed": lambda picture, file: picture.save(file.with_suffix(".png"), compress_level=0),
    "palette": lambda picture, file: picture.quantize(64).save(file.with_suffix(".png")),
    "metadata": lambda picture, file: picture.save(file.with_suffix(".png"), dpi=(72, 72)),
    "turned": with_turn,
    "alpha": with_alpha,
}


@pytest.fixture
def white(plain):
    """As `plain`, with white pixels, upright, and with few enough colours for a palette."""
    for file in plain.rglob("*.png"):
        pixels = np.asarray(Image.open(file).resize((6, 9), Image.Resampling.NEAREST)).copy()
        pixels[:2] = 255
        Image.fromarray(pixels).save(file)
    return plain


@pytest.mark.parametrize("how", AGAIN)
def test_pictures_saved_anew_without_loss_are_on_one_side(white, how):
    for file in sorted(white.rglob("*.png")):
        AGAIN[how](Image.open(file), file.with_name(f"z{file.name}"))
    dataset = open_dataset(str(white))
    sides = [
        {identity.pixel_hash(part.images[row]) for row in range(len(part))}
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(map(len, sides)) == 40
    assert "40 images are copies of others: all copies of an image are on the same side" in dataset.notes[0]
    assert split(white).notes == (f"40 of the images in {white} left out: copies of others",)


def test_another_picture_of_the_same_size_is_no_copy(plain):
    pixels = np.asarray(Image.open(plain / "cat" / "0.png")).copy()
    pixels[3, 3, 1] ^= 1
    Image.fromarray(pixels).save(plain / "cat" / "nearly.bmp")
    assert not open_dataset(str(plain)).notes


@pytest.mark.parametrize("limit", ["MOST_RECORDED", "MOST_DECODED", "MOST_PIXELS"])
def test_where_pixels_are_too_many_to_compare_that_is_said(plain, monkeypatch, limit):
    Image.open(plain / "cat" / "0.png").save(plain / "cat" / "again.bmp")
    shutil.copy(plain / "cat" / "0.png", plain / "cat" / "copy.png")
    monkeypatch.setattr(identity, limit, 40)
    notes = open_dataset(str(plain)).notes
    assert "only identical files count as copies: to compare the pixels of 41 images" in notes[0]
    assert "1 image is a copy of another" in notes[1]


# ---- what is left out


def test_files_that_are_not_read_are_counted_by_kind(plain):
    for name in ("cat/1.heic", "cat/2.HEIC", "dog/3.avif", "dog/notes"):
        (plain / name).write_bytes(b"x")
    (note,) = open_dataset(str(plain)).notes
    assert note.startswith("4 files in ") and note.endswith("2 .heic, 1 without an ending, 1 .avif")
    (note,) = labelled(str(plain), 2, ["cat", "dog"]).notes
    assert "2 .heic" in note
    assert "2 .heic" in split(plain).notes[0]


def test_a_folder_of_nothing_else_says_what_it_holds(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.heic").write_bytes(b"x")
    with pytest.raises(DataError, match="holds no images") as caught:
        split(tmp_path)
    assert "3 .heic" in caught.value.hint


def test_an_empty_class_folder_is_a_note(plain):
    (plain / "bird").mkdir()
    dataset = open_dataset(str(plain))
    assert dataset.labels == ("cat", "dog") and names(dataset.test, plain) == TESTED
    assert any("class folders without images left out" in note and "bird" in note for note in dataset.notes)
    assert set(labelled(str(plain), 2, ["cat", "dog"]).labels) == {0, 1}
    # A network without labels numbers the folders, empty or not.
    assert set(labelled(str(plain), 3).labels) == {1, 2}


def test_one_unreadable_image_does_not_end_a_calibration(plain):
    for index in (3, 7):
        (plain / "cat" / f"{index}.png").write_bytes(b"no image" * index)
    source = ImageSource.open(Preprocessing(8), calib=plain, count=100, checks=100)
    images = sum(len(batch) for batch in source.calibration()) + len(source.check_frames())
    assert images == 38 and source.tally.count == sum(len(batch) for batch in source.calibration())
    assert sorted(Path(note.split(" is not")[0]).name for note in source.notes) == ["3.png", "7.png"]


def test_of_several_passes_each_image_counts_once(plain):
    def source():
        return ImageSource.open(Preprocessing(8), calib=plain, batch=4, count=16, checks=4)

    short_first, at_once = source(), source()
    batches = short_first.calibration()
    assert len(next(batches)) == len(next(batches)) == 4
    assert short_first.tally.count == 4  # the second was looked at, and not yet used
    for _ in range(2):
        list(short_first.calibration())
    list(at_once.calibration())
    assert short_first.tally.to_json() == at_once.tally.to_json() and at_once.tally.count == 16


def test_a_calibration_of_nothing_readable_is_an_error(plain):
    for number, file in enumerate(plain.rglob("*.png")):
        file.write_bytes(b"no image" * (number + 1))
    source = ImageSource.open(Preprocessing(8), calib=plain, count=5, checks=5)
    with pytest.raises(DataError, match="none of the 5 images can be read"):
        list(source.calibration())


def test_a_pipe_called_like_an_image_is_left_out_and_named(plain):
    os.mkfifo(plain / "cat" / "pipe.png")
    (note,) = split(plain).notes
    assert note.endswith("pipe.png")


# ---- classes


@pytest.mark.parametrize(
    ("labels", "expected"), [(["A", "a"], [0, 1]), (["a", "A"], [1, 0]), ([], [0, 1])], ids=str
)
def test_classes_that_differ_only_in_case_are_two(tmp_path, labels, expected):
    for label, name in enumerate(("A", "a")):
        picture(tmp_path / name / "1.png", label)
    found = labelled(str(tmp_path), 2, labels)
    assert list(found.labels) == expected


def test_case_is_overlooked_where_nothing_is_ambiguous(plain):
    assert set(labelled(str(plain), 3, ["Dog", "Bird", "CAT"]).labels) == {0, 2}


@pytest.mark.parametrize("labels", [["a", "b"], ["cat", "bird"], ["Cat", "cat"]])
def test_folders_that_are_not_the_labels_are_refused_although_they_are_as_many(plain, labels):
    with pytest.raises(DataError, match="folder names are not its labels"):
        labelled(str(plain), 2, labels)


def test_imagenets_folders_are_its_classes_in_order(tmp_path):
    for number in range(3):
        picture(tmp_path / f"n0000000{number}" / "1.png", number)
    assert labelled(str(tmp_path), 3, ["tench", "goldfish", "shark"]).labels.tolist() == [0, 1, 2]
