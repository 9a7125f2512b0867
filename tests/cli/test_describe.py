"""A foreign file that is told how its images are prepared, and says it from then on."""

import json

import numpy as np
import onnx
import pytest
from like_foreign import LIKE
from PIL import Image
from program import run_here
from small_classifier import classifier

import edgecnn
from edgecnn.artifact import METADATA_KEY, read_manifest
from edgecnn.errors import ArtifactError, DataError, InvalidValueError
from edgecnn.runtime import load
from edgecnn.verify import verify


@pytest.fixture
def foreign(tmp_path):
    path = classifier(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="somebody else")
    onnx.save(model, path)
    return path


def graph_of(path):
    return onnx.load(path).graph.SerializeToString(deterministic=True)


def test_a_described_file_prepares_its_images_so_and_keeps_its_graph(foreign, coffee):
    before, size = graph_of(foreign), foreign.stat().st_size
    done = run_here(
        "describe", str(foreign), "--prepare", "caffe", "--fit", "letterbox", "--pad", "1,2,3", "--json"
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["preprocessing"]["color"] == "bgr" and told["bytes"] > size
    assert graph_of(foreign) == before
    assert {item.key for item in onnx.load(foreign).metadata_props} == {"author", METADATA_KEY}
    with load(foreign) as engine:
        prepared = engine.preprocessing
        assert (prepared.fit, prepared.pad, prepared.pixels) == ("letterbox", (1, 2, 3), 255)
        assert prepared.size == engine.input.shape[2:]
    predicted = run_here("predict", str(foreign), str(coffee))
    assert predicted.returncode == 0 and "%" in predicted.stdout


def test_only_the_entry_is_new_in_the_file(foreign, tmp_path):
    described = edgecnn.describe_model(foreign, tmp_path / "d.onnx", prepare="tf").path
    assert described.read_bytes().startswith(foreign.read_bytes())
    again = edgecnn.describe_model(described, prepare="tf").path  # in place, and once
    assert again == described
    assert [item.key for item in onnx.load(again).metadata_props].count(METADATA_KEY) == 1


def test_everything_can_be_given_as_a_preprocessing_and_labels_as_a_file(foreign, tmp_path):
    with load(foreign) as engine:
        classes, (_, channels, *size) = engine.classes, engine.input.shape
    prepared = edgecnn.Preprocessing(*size, color="bgr", mean=(0.5,) * channels, std=(0.25,) * channels)
    names = tmp_path / "names.txt"
    names.write_text("# in order\n" + "".join(f"thing {index}\n" for index in range(classes)))
    done = edgecnn.describe_model(foreign, preprocessing=prepared, labels=str(names))
    assert done.manifest.labels == tuple(f"thing {index}" for index in range(classes))
    with load(done.path) as engine:
        assert engine.preprocessing == prepared
        assert engine.predict(Image.new("RGB", (9, 7)))[0][0].label.startswith("thing ")


def test_the_lineage_says_so_and_is_verified(foreign, tmp_path):
    described = edgecnn.describe_model(foreign, tmp_path / "d.onnx", pixels=255).path
    assert [step.what for step in read_manifest(described).lineage] == ["describe"]
    assert verify(described).proven is True


def test_a_described_file_is_quantized_without_assuming(foreign, tmp_path):
    edgecnn.describe_model(foreign, prepare="half")
    done = run_here(
        "quantize", str(foreign), "-o", str(tmp_path / "q.onnx"), "--force", "--calib-images", "4"
    )
    assert done.returncode == 0 and "does not say" not in done.stderr
    assert read_manifest(tmp_path / "q.onnx").preprocessing["mean"] == [0.5] * 3


def test_the_size_that_is_described_is_that_of_a_file_which_leaves_it_open(tmp_path):
    path = LIKE["everything -1"].save(tmp_path / "open.onnx")
    edgecnn.describe_model(path, size="48x64", pixels=1, fit="stretch")
    made = ("quantize", str(path), "-o", str(tmp_path / "q.onnx"), "--effort", "fast", "--calib-images", "4")
    done = run_here(*made, "--force")
    assert done.returncode == 0, done.stderr
    prepared = read_manifest(tmp_path / "q.onnx").preprocessing
    assert (prepared["height"], prepared["width"]) == (48, 64)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, InvalidValueError, "nothing is said"),
        ({"fit": "stretch"}, InvalidValueError, "does not say what its values mean"),
        ({"prepare": "yolo", "size": "7x9"}, InvalidValueError, "pixels, not 7 x 9"),
        ({"mean": "0.5"}, InvalidValueError, "channels, the mean and deviation 1"),
        ({"labels": "imagenet"}, InvalidValueError, "classes, the labels name 1000"),
        ({"labels": "nowhere.txt"}, DataError, "no file of labels"),
    ],
)
def test_what_does_not_fit_leaves_the_file_as_it_was(foreign, options, error, words):
    before = foreign.read_bytes()
    with pytest.raises(error, match=words):
        edgecnn.describe_model(foreign, **options)
    assert foreign.read_bytes() == before


def test_what_is_no_onnx_file_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(np.random.default_rng(0).bytes(99))
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        edgecnn.describe_model(tmp_path / "m.onnx", prepare="tf")
