"""`edgecnn eval`, as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image
from program import run_here

from edgecnn.data.open_dataset import open_dataset
from edgecnn.runtime import load


@pytest.fixture(scope="module")
def files(exported):
    """A float network of digits and its int8 form."""
    return [str(exported("lenet5", "--batch", "4", *extra)) for extra in ([], ["--int8"])]


@pytest.fixture(scope="module")
def compared(files, tmp_path_factory):
    """What one run with everything prints, and the folder of its plots."""
    folder = tmp_path_factory.mktemp("eval")
    done = run_here(
        *("eval", files[1], "--data", "digits", "--reference", files[0], "--per-class"),
        *("--preprocessing-parity", "--plot", str(folder / "p.png")),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def test_the_answers_are_those_of_the_engine(files):
    values = json.loads(run_here("eval", files[0], "--data", "digits", "--json").stdout)
    test = open_dataset("digits").test
    with load(files[0], threads=1) as engine:
        right = engine.run(engine.prepare(list(test.images))).argmax(axis=1) == test.labels
    assert values["n"] == 898 and values["top1"] == pytest.approx(right.mean())
    assert [item["right"] for item in values["per_class"]] == np.bincount(test.labels[right]).tolist()


def test_images_that_were_decoded_before_give_the_same_answers(exported, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 255, (50, 60, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    model = str(exported("lenet5", "--classes", "2", "--batch", "4"))
    found = [
        run_here("eval", model, "--data", str(tmp_path / "data"), *extra)
        for extra in (["--json"], ["--cache", "--json"], ["--cache", "--json"], ["--cache"])
    ]
    assert all(done.returncode == 0 for done in found), found[0].stderr
    plain, fresh, kept = (json.loads(done.stdout) for done in found[:3])
    decoded = [values["conditions"]["decoding"] for values in (plain, fresh, kept)]
    assert decoded == ["included", "of 12 images included", "of 0 images included"]
    assert plain["nll"] == fresh["nll"] == kept["nll"]
    assert f"12 images were in {tmp_path / 'cache' / 'edgecnn' / 'frames'}, 0 are new" in found[3].stdout


def test_both_files_are_compared_image_by_image(files):
    values = json.loads(
        run_here("eval", files[1], "--data", "digits", "--reference", files[0], "--json").stdout
    )
    found = values["agreement"]
    assert found["parity"]["images"] == 898
    agreeing = 898 - len(found["changed"])
    assert found["parity"]["top1_agreement"] == pytest.approx(agreeing / 898)
    counts = [
        found[key] for key in ("both_right", "only_model_right", "only_reference_right", "neither_right")
    ]
    assert sum(counts) == 898 and counts[0] + counts[1] == round(898 * values["top1"])


def test_people_are_told_the_figures_in_lines(compared):
    text, _ = compared
    lines = {line.partition("  ")[0] for line in text.splitlines()}
    assert {"top-1", "top-5", "lowest", "calibration", "reference", "agreement", "changed"} <= lines
    assert {"images", "time", "torch pil", "torch tensor", "wrote"} <= lines
    assert "most often taken for" in text


def test_the_plot_and_the_sheet_are_pictures(compared):
    _, folder = compared
    assert sorted(path.name for path in folder.iterdir()) == ["p.png", "p_changed.png"]
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.width > 1000


@pytest.mark.parametrize("sheet", [(), ("p_changed.svg",)])
def test_what_is_drawn_is_named_and_without_a_reference_there_is_no_sheet(files, tmp_path, sheet):
    plot, more = str(tmp_path / "p.svg"), ("--reference", files[1]) if sheet else ()
    done = run_here("eval", files[0], "--data", "digits", "--plot", plot, *more, "--json")
    values = json.loads(done.stdout)
    assert done.returncode == 0 and {path.name for path in tmp_path.iterdir()} == {"p.svg", *sheet}
    assert values["plot"] == plot
    assert values.get("contact_sheet") == (str(tmp_path / sheet[0]) if sheet else None)


def test_preprocessing_parity_stands_in_the_json(files):
    done = run_here("eval", files[0], "--data", "digits", "--preprocessing-parity", "--json")
    pil, tensor = json.loads(done.stdout)["preprocessing_parity"]
    assert (pil["kind"], pil["images"], pil["max_pixel_diff"]) == ("pil", 898, 0)
    assert tensor["kind"] == "tensor" and tensor["max_logit_diff"] > pil["max_logit_diff"]


def test_a_plot_that_cannot_be_written_is_told_before_the_work(files, tmp_path):
    done = run_here("eval", files[0], "--data", "nowhere", "--plot", str(tmp_path / "p.txt"))
    assert done.returncode == 1 and "cannot be written as 'p.txt'" in done.stderr


def test_a_damaged_image_is_left_out_and_said(exported, coffee, tmp_path):
    (tmp_path / "data" / "espresso").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "data" / "espresso" / f"{name}.png").write_bytes(coffee.read_bytes())
    (tmp_path / "data" / "espresso" / "c.png").write_bytes(b"no image")
    model = str(exported("mobilenet", "--alpha", "0.5"))
    done = run_here("eval", model, "--data", str(tmp_path / "data"))
    assert "2 of" in done.stdout and "1 could not be read" in done.stdout
    assert "c.png is not an image" in done.stderr
    values = json.loads(run_here("eval", model, "--data", str(tmp_path / "data"), "--json").stdout)
    assert values["n"] == 2 and values["skipped"][0]["image"].endswith("c.png")


def test_the_threads_asked_for_are_all_that_work(files):
    values = json.loads(run_here("eval", files[0], "--data", "digits", "--threads", "1", "--json").stdout)
    assert (values["conditions"]["threads"], values["conditions"]["workers"]) == (1, 1)
