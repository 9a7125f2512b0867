"""Images that a network was trained with never test it, whatever the seed of a later step."""

import json

import numpy as np
import pytest
from PIL import Image
from program import run_here as run

from edgecnn.artifact import Manifest, Step, TensorSpec, read_manifest
from edgecnn.data.dataset import open_dataset
from edgecnn.data.trained_on import open_for
from edgecnn.data.trained_on import test_images as images_that_test


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
    assert [1 if "dark" in path else 0 for path in paths(found)] == found.labels


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
