"""Images that a network was trained with never test it, whatever the seed of a later step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from program import run_here as run

from edgecnn.artifact import Manifest, Step, TensorSpec, read_manifest
from edgecnn.data import identity
from edgecnn.data.open_dataset import open_dataset
from edgecnn.data.trained_on import describe, open_for
from edgecnn.data.trained_on import test_images as images_that_test
from edgecnn.errors import ArtifactError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for name, base in (("dark", 0), ("light", 128)):
        (root / name).mkdir()
        for index in range(40):
            pixels = rng.integers(base, base + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def manifest(*steps: Step, labels=("dark", "light")) -> Manifest:
    spec = TensorSpec("x", ("batch", len(labels)), "float32", "NC")
    return Manifest(inputs=(spec,), outputs=(spec,), labels=labels, lineage=steps)


def trained(folder, seed: int) -> Step:
    return Step("train", {"data": str(folder), "split_seed": seed, "validation": 0.2}, seed)


def paths(examples) -> list[str]:
    return [str(examples.images[row]) for row in range(len(examples.labels))]


def test_the_split_of_the_first_training_stays(folder):
    known = manifest(trained(folder, 5), trained(folder, 6))
    wanted = open_dataset(str(folder), seed=5, validation=0.3)
    found = open_for([None, known], str(folder), seed=7, validation=0.3)
    assert paths(found.test) == paths(wanted.test) and paths(found.train) == paths(wanted.train)
    assert found.split_seed == 5
    assert paths(images_that_test(known, str(folder), 2)) == paths(wanted.test)
    assert paths(wanted.test) != paths(open_dataset(str(folder), seed=7).test)


def test_without_a_training_the_seed_decides(folder):
    found = open_for([None, manifest(Step("build"))], str(folder), seed=7, validation=0.3)
    assert paths(found.test) == paths(open_dataset(str(folder), seed=7, validation=0.3).test)


def test_classes_are_matched_by_name_where_the_last_training_ordered_them_otherwise(folder):
    known = manifest(trained(folder, 5), labels=("light", "dark"))
    found = images_that_test(known, str(folder), 2)
    assert [1 if "dark" in path else 0 for path in paths(found)] == list(found.labels)


def test_what_is_made_of_a_network_is_tested_with_what_tested_it(folder, tmp_path):
    data = ("--data", str(folder), "--augmentation", "none", "--batch", "8", "--epochs", "1")
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    commands = (
        ("train", "lenet5", *data, "--seed", "5", "-o", files[0]),
        ("prune", files[0], *data, "--target-params", "0.9x", "--align", "1", "--no-measure", "-o", files[1]),
        ("distill", "lenet5", "--teacher", files[1], *data, "--seed", "3", "-o", files[2], "--json"),
    )
    for command in commands:
        done = run(*command)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 8
    splits = [read_manifest(file).lineage[-1].parameters["split_seed"] for file in files]
    assert splits == [5, 5, 5]


# ---- the same images at another place


def recorded(folder, seed: int = 5) -> Step:
    """What a training records."""
    return Step("train", {**describe(open_dataset(str(folder), seed=seed)), "validation": 0.1}, seed)


def contents(images) -> set[bytes]:
    return {Path(images[row]).read_bytes() for row in range(len(images))}


def relative(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder / "dark")
    return ".."


def linked(folder, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    return str(tmp_path / "link")


def copied(folder, tmp_path, monkeypatch):
    return str(shutil.copytree(folder, tmp_path / "another name"))


def renamed(folder, tmp_path, monkeypatch):
    """Other names of files, in other folders."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        place = tmp_path / "set" / file.parent.name / "deep" / f"{number * 7919 % 997}.PNG"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return str(tmp_path / "set")


def among_others(folder, tmp_path, monkeypatch):
    """A copy to which an image was added, as it is not the same set any more."""
    name = copied(folder, tmp_path, monkeypatch)
    Image.new("L", (8, 8), 77).save(Path(name) / "dark" / "new.png")
    return name


@pytest.mark.parametrize("place", [str, relative, linked, copied, renamed, among_others])
def test_images_that_trained_do_not_test_wherever_they_lie(folder, tmp_path, monkeypatch, place):
    known = manifest(recorded(folder))
    name = str(folder) if place is str else place(folder, tmp_path, monkeypatch)
    found = images_that_test(known, name, 2)
    wanted = open_dataset(str(folder), seed=5).test
    new = [(tmp_path / "another name/dark/new.png").read_bytes()] if place is among_others else []
    assert contents(found.images) == contents(wanted.images) | set(new)
    assert len(found.labels) == len(found.images) == 8 + len(new)
    assert not found.training.unknown
    assert found.training.left_out == (72 if place in (renamed, among_others) else 0)


ANEW = ((".bmp", {}), (".png", {"compress_level": 0}), (".png", {"dpi": (9, 9)}))


def saved_anew(folder, tmp_path, monkeypatch):
    """The same pixels in other files: of another format, compressed otherwise, with other metadata."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        place = tmp_path / "anew" / file.parent.name / file.stem
        place.parent.mkdir(parents=True, exist_ok=True)
        suffix, options = ANEW[number % len(ANEW)]
        Image.open(file).save(place.with_suffix(suffix), **options)
    return str(tmp_path / "anew")


def pixels(images) -> set[bytes | None]:
    return {identity.pixel_hash(images[row]) for row in range(len(images))}


def test_images_that_trained_do_not_test_when_they_are_saved_anew(folder, tmp_path, monkeypatch):
    name = saved_anew(folder, tmp_path, monkeypatch)
    found = images_that_test(manifest(recorded(folder)), name, 2)
    assert pixels(found.images) == pixels(open_dataset(str(folder), seed=5).test.images)
    assert (found.training.left_out, found.training.unknown) == (72, "")
    later = open_for([manifest(recorded(folder))], name, seed=9)
    before = open_dataset(str(folder), seed=5)
    assert len(later.test) == 8 and not pixels(later.test.images) & pixels(before.train.images)


def test_of_files_whose_pixels_are_not_recorded_it_is_said_that_saved_anew_they_are_not_known(
    folder, tmp_path, monkeypatch
):
    name = saved_anew(folder, tmp_path, monkeypatch)
    monkeypatch.setattr(identity, "MOST_PIXELS", 71 * 64)
    step = recorded(folder)  # as of a large set, or by an earlier version
    assert "training_pixels" not in step.parameters and "training_images" in step.parameters
    found = images_that_test(manifest(step), name, 2)
    assert found.training.left_out == 0 and "not when saved anew" in found.training.unknown
    copy = images_that_test(manifest(step), renamed(folder, tmp_path, monkeypatch), 2)
    assert copy.training.left_out == 72
    assert not images_that_test(manifest(step), str(folder), 2).training.unknown


@pytest.mark.parametrize("place", [renamed, among_others])
def test_a_later_training_tests_with_nothing_that_trained_before(folder, tmp_path, monkeypatch, place):
    name = place(folder, tmp_path, monkeypatch)
    dataset = open_for([manifest(recorded(folder))], name, seed=9)
    before = open_dataset(str(folder), seed=5)
    trained_before = contents(before.train.images) | contents(before.validation.images)
    assert len(dataset.test) == 8 and not contents(dataset.test.images) & trained_before
    assert np.bincount(dataset.test.labels).tolist() == [4, 4]
    parts = [contents(part.images) for part in (dataset.train, dataset.validation, dataset.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 80 + (place is among_others)
    assert any("train as they did before" in note for note in dataset.notes)


def test_images_all_of_which_trained_are_refused(folder, tmp_path):
    train = open_dataset(str(folder), seed=5).train
    for row in range(len(train)):
        place = tmp_path / Path(train.images[row]).parent.name / f"{row}.png"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(train.images[row], place)
    with pytest.raises(DataError, match=r"all images of .* trained this network"):
        images_that_test(manifest(recorded(folder)), str(tmp_path), 2)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, "the file does not say"),
        (Manifest((), (), weights="imagenet", labels=("dark", "light")), "without a record"),
        (manifest(Step("train", {"data": "elsewhere", "data_sha256": "0", "split_seed": 0})), "elsewhere"),
        (Manifest((), (), weights="random", labels=("dark", "light")), ""),
    ],
    ids=["foreign", "imported", "not recorded", "untrained"],
)
def test_where_the_training_images_cannot_be_told_that_is_said(folder, known, reason):
    found = images_that_test(known, str(folder), 2)
    assert len(found.images) == 80
    assert reason in found.training.unknown and bool(reason) == bool(found.training.unknown)
    assert found.training.to_json()["may_test"] == bool(reason)
    assert [reason in note for note in found.notes] == [True] * bool(reason)


def test_a_set_that_has_changed_since_without_a_record_is_said(folder, tmp_path, monkeypatch):
    name = copied(folder, tmp_path, monkeypatch)
    values = recorded(name).parameters
    step = Step("train", {key: values[key] for key in ("data", "data_sha256", "split_seed")}, 5)
    assert not images_that_test(manifest(step), name, 2).training.unknown
    Image.new("L", (8, 8), 77).save(Path(name) / "dark" / "new.png")
    assert "not recorded" in images_that_test(manifest(step), name, 2).training.unknown


def test_a_second_training_on_the_same_split_records_its_images_once(folder):
    first = recorded(folder)
    assert "training_images" in first.parameters
    again = describe(open_dataset(str(folder), seed=5), [first])
    assert "training_images" not in again and again["data_sha256"] == first.parameters["data_sha256"]
    assert "training_images" in describe(open_dataset(str(folder), seed=6), [first])
    lineage = manifest(first, Step("train", {**again, "validation": 0.1}, 5))
    assert not images_that_test(lineage, str(folder), 2).training.unknown


def test_too_many_images_are_not_recorded(folder, monkeypatch):
    monkeypatch.setattr(identity, "MOST_RECORDED", 71)
    assert "training_images" not in describe(open_dataset(str(folder)))


def test_a_damaged_record_is_one_clear_error(folder, tmp_path, monkeypatch):
    step = Step("train", {"data": "x", "data_sha256": "0", "split_seed": 0, "training_images": "no base64!"})
    with pytest.raises(ArtifactError, match="training images are damaged"):
        images_that_test(manifest(step), str(folder), 2)
