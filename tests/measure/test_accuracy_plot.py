"""The figure and the contact sheet: what is written in them."""

import numpy as np
import pytest
from table_engine import TableEngine, numbered

from edgecnn.errors import InvalidValueError
from edgecnn.measure.accuracy import accuracy_plot, contact_sheet
from edgecnn.measure.accuracy.evaluate import Accuracy, evaluate

LABELS = np.arange(60) % 10
SURE = np.linspace(0.5, 6, 60)[:, None]


@pytest.fixture
def evaluated(tmp_path):
    """Ten classes; the model changes the answer of every sixth image."""
    answers = np.where(np.arange(60) % 6 == 0, (LABELS + 1) % 10, LABELS)
    model = TableEngine(tmp_path / "int8.onnx", SURE * np.eye(10)[answers])
    reference = TableEngine(tmp_path / "float.onnx", SURE * np.eye(10)[LABELS])
    data = numbered(LABELS)
    return evaluate(model, data, reference=reference), data, model.preprocessing


def test_the_figure_names_the_classes_and_the_figures(evaluated, tmp_path):
    found, _, _ = evaluated
    accuracy_plot.draw(found, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    for expected in ("int8.onnx on 60 images", f"top-1 {found.top1:.2%}", "class 7", "answer (10 classes)"):
        assert expected in text
    assert f"expected calibration error {found.ece:.1%}" in text


def test_classes_that_do_not_occur_are_left_out(tmp_path):
    engine = TableEngine(tmp_path / "a.onnx", np.eye(1000)[[3, 3, 700]])
    accuracy_plot.draw(evaluate(engine, numbered([3, 3, 3])), tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert "answer (2 classes)" in text and "class 700" in text and "class 4<" not in text


def test_of_a_thousand_classes_the_lowest_are_named(tmp_path):
    labels = np.arange(1000)
    logits = np.eye(1000, dtype=np.float32)[np.where(labels == 417, 418, labels)]
    found = Accuracy(tmp_path / "m.onnx", "d", logits, labels, [f"class {k}" for k in labels], (), 1.0, {})
    accuracy_plot.draw(found, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert "0% class 417" in text and "a cell is the most of 4 x 4" in text


def test_a_single_confusion_survives_where_cells_are_shared():
    matrix = np.eye(1000)
    matrix[3, 990] = 0.125
    small = accuracy_plot.coarse(matrix, 250)
    assert small.shape == (250, 250) and small[0, 247] == 0.125
    assert np.array_equal(np.diag(small), np.ones(250))


def test_a_class_without_images_stays_empty_in_the_matrix():
    matrix = np.full((7, 7), np.nan)
    matrix[:5] = 0
    small = accuracy_plot.coarse(matrix, 3)
    assert small.shape == (3, 3) and np.isnan(small[2]).all() and not np.isnan(small[:2]).any()


def test_the_sheet_shows_the_changed_images_with_both_answers(evaluated, tmp_path):
    found, data, preprocessing = evaluated
    contact_sheet.draw(found, data.images, preprocessing, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert "10 of 60 images changed class from float.onnx to int8.onnx" in text
    assert text.count("<image") == 10
    first = found.agreement.changed[0]
    assert f"was class {first.reference_answer} {first.reference_confidence:.0%}" in text
    assert f"is class {first.answer} {first.confidence:.0%}" in text
    assert "lost: only the reference is right" in text and "won: only the model" not in text


def test_the_sheet_without_changes_says_so(evaluated, tmp_path):
    _, data, preprocessing = evaluated
    engine = TableEngine(tmp_path / "same.onnx", SURE * np.eye(10)[LABELS])
    same = evaluate(engine, data, reference=engine)
    contact_sheet.draw(same, data.images, preprocessing, tmp_path / "p.svg")
    assert "0 of 60 images changed class" in (tmp_path / "p.svg").read_text()


def test_a_sheet_needs_a_reference(evaluated, tmp_path):
    _, data, preprocessing = evaluated
    alone = evaluate(TableEngine(tmp_path / "a.onnx", SURE * np.eye(10)[LABELS]), data)
    with pytest.raises(InvalidValueError, match="without a reference"):
        contact_sheet.draw(alone, data.images, preprocessing, tmp_path / "p.svg")


def test_the_sheet_stands_beside_its_plot(tmp_path):
    assert contact_sheet.sheet_path(tmp_path / "out.png") == tmp_path / "out_changed.png"
