"""A model beside the one that it was made from."""

import json

import numpy as np
import pytest
from PIL import Image
from table_engine import TableEngine, numbered

from edgecnn.data.folder import LabelledImages
from edgecnn.errors import ParityError
from edgecnn.measure.accuracy.evaluate import evaluate

#: Label, the model's answer, the reference's.
ANSWERS = np.array([(0, 0, 0)] * 5 + [(1, 1, 2)] * 1 + [(2, 0, 2)] * 4 + [(3, 1, 1)] * 2 + [(3, 0, 1)] * 3)
LABELS, MODEL, REFERENCE = ANSWERS.T


@pytest.fixture
def agreement(tmp_path):
    sure = np.linspace(1, 4, len(LABELS))[:, None]  # later images are surer
    model = TableEngine(tmp_path / "int8.onnx", 2 * np.eye(4)[MODEL])
    reference = TableEngine(tmp_path / "float.onnx", sure * np.eye(4)[REFERENCE])
    return evaluate(model, numbered(LABELS), reference=reference, batch=4).agreement


def test_images_are_counted_by_who_is_right(agreement):
    assert (agreement.both_right, agreement.only_model_right) == (5, 1)
    assert (agreement.only_reference_right, agreement.neither_right) == (4, 5)
    assert agreement.reference_top1 == np.mean(LABELS == REFERENCE)


def test_the_share_of_same_answers_has_an_interval(agreement):
    assert agreement.parity.top1_agreement == np.mean(MODEL == REFERENCE)
    from scipy.stats import binomtest

    expected = binomtest(int((MODEL == REFERENCE).sum()), len(LABELS)).proportion_ci(method="wilson")
    assert agreement.interval == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_the_p_value_is_that_of_the_exact_test(agreement):
    from scipy.stats import binomtest

    assert agreement.p_value == pytest.approx(binomtest(1, 5).pvalue)


def test_the_changed_images_are_listed_with_both_answers_the_surest_first(agreement):
    rows = np.flatnonzero(MODEL != REFERENCE)
    assert [item.row for item in agreement.changed] == rows[::-1].tolist()
    first = agreement.changed[0]
    assert (first.image, first.label, first.answer, first.reference_answer) == ("image 14", 3, 0, 1)
    assert first.confidence == pytest.approx(np.exp(2) / (np.exp(2) + 3))
    assert first.reference_confidence == pytest.approx(np.exp(4) / (np.exp(4) + 3))


def test_the_json_names_the_classes(agreement):
    values = json.loads(json.dumps(agreement.to_json(list("abcd")), allow_nan=False))
    assert values["changed"][0]["reference_answer_name"] == "b"
    assert values["top1"] == agreement.reference_top1


def test_the_answers_keep_their_images_when_one_cannot_be_read(tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(6)]
    for row, path in enumerate(paths):
        Image.new("RGB", (4, 4), (row, 0, 0)).save(path)
    paths[2].write_bytes(b"no image")
    data = LabelledImages("files", paths, [0, 1, 2, 3, 0, 1])
    answers = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    other = np.eye(4)[[0, 1, 2, 3, 2, 1]]
    found = evaluate(
        TableEngine(tmp_path / "a.onnx", answers), data, reference=TableEngine(tmp_path / "b.onnx", other)
    )
    assert found.labels.tolist() == [0, 1, 3, 0, 1] and found.top1 == 1.0
    assert [(item.row, item.image) for item in found.agreement.changed] == [(4, str(paths[4]))]
    assert [item.image for item in found.skipped] == [str(paths[2])]


def test_an_image_is_decoded_once_for_both(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "edgecnn.measure.accuracy.engine_outputs.open_image", lambda image: opened.append(image) or image
    )
    table = np.eye(4)[[0, 1, 2]]
    engines = [TableEngine(tmp_path / name, table) for name in "ab"]
    evaluate(engines[0], numbered([0, 1, 2]), reference=engines[1])
    assert len(opened) == 3


def test_a_reference_that_always_says_the_same_proves_nothing(tmp_path):
    engine = TableEngine(tmp_path / "a.onnx", np.eye(4)[[0, 1, 2]])
    reference = TableEngine(tmp_path / "b.onnx", np.tile(np.eye(4)[0], (3, 1)))
    with pytest.raises(ParityError, match="would prove nothing"):
        evaluate(engine, numbered([0, 1, 2]), reference=reference)
