"""Folders of images on the command line: `predict` names what is in them, `info` what there is."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from program import run_here


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten pictures, one of them broken and one a copy, and what is no picture."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.random.default_rng(100 * label + index).integers(
                0, 256, (20, 30 + index, 3), np.uint8
            )
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    (tmp_path / "photos" / "cat" / "9.png").write_bytes(b"no image")
    shutil.copy(tmp_path / "photos" / "cat" / "0.png", tmp_path / "photos" / "cat" / "copy.png")
    (tmp_path / "photos" / "dog" / "a.heic").write_bytes(b"x")
    os.mkfifo(tmp_path / "photos" / "dog" / "pipe.jpg")
    return tmp_path / "photos"


def test_predict_takes_folders_and_goes_on_after_a_bad_image(exported, photos):
    model = str(exported("lenet5"))
    single = str(photos / "dog" / "3.png")
    arguments = ("predict", model, str(photos / "nowhere.png"), str(photos), single, "--top", "1")
    done = run_here(*arguments, "--json")
    values = json.loads(done.stdout)
    images = [item["image"] for item in values["predictions"]]
    assert done.returncode == 1 and len(images) == 20 and single in images
    assert [os.path.basename(item["image"]) for item in values["failed"]] == ["nowhere.png", "9.png"]
    assert any("1 .heic" in note for note in values["notes"])
    assert any("pipe.jpg" in note for note in values["notes"])
    plain = run_here(*arguments)
    assert plain.returncode == 1 and plain.stdout.count(".png\n") == 20
    errors = [line for line in plain.stderr.splitlines() if line.startswith("error: ")]
    assert (
        len(errors) == 2 and "nowhere.png is not there" in errors[0] and "9.png is not an image" in errors[1]
    )


def test_predict_without_a_bad_image_is_done(exported, photos):
    done = run_here("predict", str(exported("lenet5")), str(photos / "cat" / "0.png"), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["failed"] == []


def test_info_of_a_folder_says_what_there_is(photos):
    found = json.loads(run_here("info", str(photos), "--json").stdout)
    assert found["n"] == 21 and found["classes"] == [{"name": "cat", "n": 11}, {"name": "dog", "n": 10}]
    assert found["sizes"] == {"smallest": [30, 20], "median": [34, 20], "largest": [39, 20]}
    assert [os.path.basename(item["image"]) for item in found["broken"]] == ["9.png"]
    (copies,) = found["duplicates"]
    assert [os.path.basename(path) for path in copies] == ["0.png", "copy.png"]
    counts = [sum(part.values()) for part in found["split"].values()]
    assert list(found["split"]) == ["train", "validation", "test"] and sum(counts) == 21
    notes = " ".join(found["notes"])
    assert ".heic" in notes and "pipe.jpg" in notes and "1 image is a copy" in notes


def test_info_of_a_folder_is_a_table_and_a_sheet(photos, tmp_path):
    done = run_here("info", str(photos), "--plot", str(tmp_path / "sheet.png"))
    lines = {line.split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert lines["cat"].split()[:2] == ["cat", "11"]
    assert {"folder", "sizes", "colours", "split", "copies", "broken", "plot"} <= set(lines)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 800 and len(sheet.convert("RGB").getcolors(1 << 24)) > 1000


def test_info_of_images_without_classes(photos):
    found = json.loads(run_here("info", str(photos / "dog"), "--json").stdout)
    assert found["n"] == 10 and found["classes"] == [] and found["split"] is None


def test_info_of_a_folder_that_cannot_train_says_why(photos):
    shutil.rmtree(photos / "dog")
    found = json.loads(run_here("info", str(photos), "--json").stdout)
    assert found["split"] is None and any("holds one class" in note for note in found["notes"])


@pytest.mark.parametrize("arguments", [["{}", "lenet5"], ["{}/nothing/"]])
def test_info_of_a_folder_beside_others_or_of_none_is_an_error(photos, arguments):
    done = run_here("info", *(word.replace("{}", str(photos)) for word in arguments))
    assert done.returncode in (1, 2) and done.stderr.startswith("error: ")
