"""Hugging Face data sets that are made here: the library opens a folder as it opens the hub."""

import io

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.preprocessing import Preprocessing


def library():
    """The package, once a test needs it: it takes seconds to import."""
    return pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(library().config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(library().config, "HF_HUB_OFFLINE", True)
    library().disable_progress_bars()


def png(value, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), value).save(buffer, "PNG")
    return buffer.getvalue()


def save(folder, split, labels, image="img", label="kind", mode="RGB", extra=None):
    """Write a parquet file with one picture per label, whose brightness is its row."""
    folder.mkdir(exist_ok=True)
    columns = {"id": library().Value("int64"), image: library().Image()}
    rows = {
        "id": list(range(len(labels))),
        image: [{"bytes": png(row, mode), "path": None} for row in range(len(labels))],
    }
    if label:
        columns[label], rows[label] = library().ClassLabel(names=["cat", "dog"]), labels
    if extra:
        columns[extra], rows[extra] = library().ClassLabel(names=["a", "b", "c"]), labels
    features = library().Features(columns)
    library().Dataset.from_dict(rows, features=features).to_parquet(
        folder / f"{split}-00000-of-00001.parquet"
    )


@pytest.fixture
def hub(tmp_path):
    """20 images to train and 6 to test."""
    save(tmp_path / "hub", "train", [0, 1] * 10)
    save(tmp_path / "hub", "test", [1, 0, 0, 1, 0, 1])
    return tmp_path / "hub"


def test_images_and_classes_are_the_columns_of_those_types(hub):
    test = open_dataset(f"hf:{hub}").test
    assert test.labels.tolist() == [1, 0, 0, 1, 0, 1]
    assert [open_image(test.images[row]).getpixel((0, 0))[0] for row in range(6)] == list(range(6))


def test_its_own_parts_are_used_and_the_missing_one_comes_out_of_train(hub):
    dataset = open_dataset(f"hf:{hub}", validation=0.2)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (16, 4, 6)
    assert dataset.labels == ("cat", "dog") and dataset.channels == 3


def test_its_validation_part_is_the_test_if_there_is_no_other(tmp_path):
    save(tmp_path / "hub", "train", [0, 1] * 10)
    save(tmp_path / "hub", "validation", [1, 1, 0])
    dataset = open_dataset(f"hf:{tmp_path / 'hub'}")
    assert dataset.test.labels.tolist() == [1, 1, 0] and len(dataset.validation) == 2


def test_a_part_whose_classes_are_not_published_is_not_used(tmp_path):
    save(tmp_path / "hub", "train", [0, 1] * 10)
    save(tmp_path / "hub", "test", [-1, -1])
    assert set(open_dataset(f"hf:{tmp_path / 'hub'}").test.labels) == {0, 1}


def test_grey_images_have_one_channel(tmp_path):
    save(tmp_path / "hub", "train", [0, 1] * 10, mode="L")
    assert open_dataset(f"hf:{tmp_path / 'hub'}").channels == 1


def test_the_first_of_several_columns_of_classes_is_named(tmp_path):
    save(tmp_path / "hub", "train", [0, 1] * 10, extra="finer")
    said = []
    assert open_dataset(f"hf:{tmp_path / 'hub'}", progress=said.append).classes == 2
    assert "the classes are those of the column kind, not of finer" in said


def test_image_files_in_folders_open_too(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for row in range(5):
            Image.fromarray(np.full((8, 8, 3), row, np.uint8)).save(tmp_path / "train" / name / f"{row}.png")
    train = open_dataset(f"hf:{tmp_path}").train
    assert len(train) == 6 and open_image(train.images[0]).size == (8, 8)


def test_a_picture_keeps_its_label_in_every_thread(tmp_path):
    """The brightness of a picture is its row; even rows are cats."""
    save(tmp_path / "hub", "train", [0, 1] * 60)
    loader = Loader(open_dataset(f"hf:{tmp_path / 'hub'}").train, Preprocessing(8), 4, workers=4, memory=0)
    for frames, labels in loader.epoch(0):
        np.testing.assert_array_equal(frames[:, 0, 0, 0] % 2, labels)


def test_the_fingerprint_changes_with_a_picture(hub):
    before = open_dataset(f"hf:{hub}").sha256
    assert open_dataset(f"hf:{hub}").sha256 == before
    save(hub, "test", [1, 0, 0, 1, 0, 1], mode="L")
    assert open_dataset(f"hf:{hub}").sha256 != before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "cannot open hf:"),
        (lambda folder: save(folder, "train", [0, 1] * 5, label=None), "no column of classes"),
        (lambda folder: save(folder, "test", [0, 1] * 5), "no part called train"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(tmp_path, make, message):
    make(tmp_path / "hub")
    with pytest.raises(DataError, match=message):
        open_dataset(f"hf:{tmp_path / 'hub'}")


def objects(row):
    return {"bbox": [[1, 2, 3, 4], [0, 0, 2, 10]][: row % 3], "category": [0, 1][: row % 3]}


def save_boxes(folder, rows, more=()):
    folder.mkdir()
    fields = {
        "bbox": library().Sequence(library().Value("float32")),
        "category": library().ClassLabel(names=["cat", "dog"]),
    }
    features = library().Features({"image": library().Image(), "objects": library().Sequence(fields)})
    table = {
        "image": [{"bytes": png(row), "path": None} for row in range(rows)],
        "objects": [*map(objects, range(rows - len(more))), *more],
    }
    library().Dataset.from_dict(table, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def test_boxes_are_cocos_in_a_column_of_objects(tmp_path):
    wrong = {"bbox": [[0, 0, -1, 2], [1, 2], [20, 1, 2, 2]], "category": [0, 0, 0]}
    data = open_dataset(f"hf:{save_boxes(tmp_path / 'hub', 30, [wrong])}")
    assert data.task == "detection" and data.labels == ("cat", "dog")
    notes = " | ".join(data.notes)
    for kind in ("of negative or zero size", "that lie outside their picture", "is not four numbers"):
        assert f"{kind}: 1 (image 29)" in notes
    assert any("cut at its edge: 9" in note for note in data.notes)
    for part in (data.train, data.validation, data.test):
        for row in range(len(part)):
            shown = open_image(part.images[row]).getpixel((0, 0))[0]
            expected = [[1, 2, 4, 6], [0, 0, 2, 8]][: shown % 3] if shown < 29 else []
            assert part.labels[row].corners.tolist() == expected


def test_masks_are_a_second_column_of_images(tmp_path):
    (tmp_path / "hub").mkdir()
    features = library().Features({"image": library().Image(), "mask": library().Image()})
    table = {
        "image": [{"bytes": png(row), "path": None} for row in range(20)],
        "mask": [{"bytes": png(row % 3, "L"), "path": None} for row in range(20)],
    }
    made = library().Dataset.from_dict(table, features=features)
    made.to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    data = open_dataset(f"hf:{tmp_path / 'hub'}")
    assert data.task == "segmentation" and data.labels == ("0", "1", "2")
    shown = open_image(data.train.images[0]).getpixel((0, 0))[0]
    assert data.train.labels[0].shape == (8, 8) and (data.train.labels[0] == shown % 3).all()
