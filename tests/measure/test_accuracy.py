"""What is counted in a network's answers, beside scikit-learn and SciPy."""

import json

import numpy as np
import pytest
from PIL import Image
from table_engine import TableEngine, numbered

from edgecnn.data.folder import LabelledImages
from edgecnn.data.views import Views
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.measure.accuracy.confidence_interval import wilson
from edgecnn.measure.accuracy.evaluate import evaluate
from edgecnn.measure.accuracy.reliability import BINS, calibration_error, confidence_and_loss, reliability

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 200)
LOGITS = RNG.normal(size=(200, 7)).astype(np.float32) + 1.5 * np.eye(7, dtype=np.float32)[LABELS]


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    engine = TableEngine(tmp_path_factory.mktemp("a") / "a.onnx", LOGITS)
    return evaluate(engine, numbered(LABELS), batch=8)


@pytest.mark.parametrize(("k", "name"), [(1, "top1"), (5, "top5")])
def test_top_k_is_that_of_scikit_learn(accuracy, k, name):
    from sklearn.metrics import top_k_accuracy_score

    assert getattr(accuracy, name) == top_k_accuracy_score(LABELS, LOGITS, k=k)


def test_every_logit_is_kept_in_the_order_of_the_images(accuracy):
    np.testing.assert_array_equal(accuracy.logits, LOGITS)
    assert accuracy.logits.dtype == np.float32


def test_the_confusion_matrix_is_that_of_scikit_learn(accuracy):
    from sklearn.metrics import confusion_matrix

    np.testing.assert_array_equal(accuracy.confusion, confusion_matrix(LABELS, LOGITS.argmax(1)))


def test_the_likelihood_is_that_of_scikit_learn(accuracy):
    from sklearn.metrics import log_loss

    probabilities = np.exp(LOGITS.astype(float)) / np.exp(LOGITS.astype(float)).sum(1, keepdims=True)
    assert accuracy.nll == pytest.approx(log_loss(LABELS, probabilities), rel=1e-9)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (1, 2), (640, 898), (49999, 50000)])
def test_the_interval_is_wilsons(right, n):
    from scipy.stats import binomtest

    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_both_shares_have_their_own_interval(accuracy):
    for share, (low, high) in (
        (accuracy.top1, accuracy.top1_interval),
        (accuracy.top5, accuracy.top5_interval),
    ):
        assert low < share < high
    assert accuracy.top1_interval[1] < accuracy.top5_interval[0]


def test_equal_logits_are_ordered_by_class(tmp_path):
    """A constant network must not be right about everything."""
    found = evaluate(TableEngine(tmp_path / "a.onnx", np.zeros((20, 10))), numbered(np.arange(20) % 10))
    assert (found.top1, found.top5) == (0.1, 0.5)
    assert found.confusion[:, 0].sum() == 20


def test_calibration_error_of_known_answers():
    """Half the images 90 % sure and right in 6 of 10, half 30 % sure and right in 3 of 10."""
    confidence = np.repeat([0.9, 0.3], 10)
    right = np.array([True] * 6 + [False] * 4 + [True] * 3 + [False] * 7)
    bins = reliability(confidence, right)
    assert len(bins) == BINS == 15 and sum(item.n for item in bins) == 20
    assert calibration_error(bins) == pytest.approx(0.15)


def test_an_answer_on_an_edge_belongs_to_the_bin_below():
    """Guo et al.: the bins are open below and closed above."""
    edges = np.linspace(0, 1, 16)[1:]
    bins = reliability(edges, np.ones(15, bool))
    assert [item.n for item in bins] == [1] * 15


def test_a_sure_and_right_network_is_calibrated(tmp_path):
    table = 50 * np.eye(10)[np.arange(30) % 10]
    found = evaluate(TableEngine(tmp_path / "a.onnx", table), numbered(np.arange(30) % 10))
    assert found.ece == pytest.approx(0, abs=1e-9) and found.nll == pytest.approx(0, abs=1e-9)


def test_a_network_that_ends_in_a_softmax_is_not_given_another(tmp_path):
    exponentials = np.exp(LOGITS.astype(float))
    probabilities = (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)
    for one, other in zip(
        confidence_and_loss(probabilities, LABELS), confidence_and_loss(LOGITS, LABELS), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_many_images_are_reduced_like_few():
    many = np.tile(LOGITS, (6, 1))  # more than a block
    np.testing.assert_allclose(
        confidence_and_loss(many, np.tile(LABELS, 6)), np.tile(confidence_and_loss(LOGITS, LABELS), (1, 6))
    )


def test_classes_without_images_are_not_the_worst(tmp_path):
    table = np.eye(5)[[0, 1, 1, 1]]
    found = evaluate(TableEngine(tmp_path / "a.onnx", table), numbered([0, 1, 2, 1]))
    assert found.worst_classes == [2, 1, 0]


def test_the_json_holds_every_count_and_is_valid(accuracy):
    values = json.loads(json.dumps(accuracy.to_json(), allow_nan=False))
    assert sum(item["n"] for item in values["per_class"]) == values["n"] == 200
    assert sum(item["right"] for item in values["per_class"]) == round(200 * values["top1"])
    matrix = np.diag([item["right"] for item in values["per_class"]])
    for item in values["mistakes"]:
        matrix[item["label"], item["answer"]] = item["n"]
    np.testing.assert_array_equal(matrix, accuracy.confusion)
    assert values["conditions"]["input"] == "numbers" and values["agreement"] is None


def test_a_fixed_batch_is_kept(tmp_path):
    engine = TableEngine(tmp_path / "a.onnx", LOGITS, batch=16)
    np.testing.assert_array_equal(evaluate(engine, numbered(LABELS), batch=3).logits, LOGITS)
    assert engine.seen == [16] * 13  # 200 images, the last batch filled up


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(tmp_path, value):
    broken = LOGITS.copy()
    broken[3, 2] = value
    with pytest.raises(EngineError, match="not finite for 1 of 200"):
        evaluate(TableEngine(tmp_path / "a.onnx", broken), numbered(LABELS))


def test_a_reference_with_other_classes_is_refused(tmp_path):
    engines = [TableEngine(tmp_path / f"{k}.onnx", LOGITS[:, :k]) for k in (7, 6)]
    with pytest.raises(InvalidValueError, match=r"7 classes, 6\.onnx 6"):
        evaluate(engines[0], numbered(LABELS), reference=engines[1])


def test_probabilities_are_averaged_over_networks(tmp_path):
    other = LOGITS[::-1].copy()
    engines = [TableEngine(tmp_path / f"{n}.onnx", table) for n, table in enumerate((LOGITS, other, LOGITS))]
    reference = engines.pop()
    found = evaluate(engines[0], numbered(LABELS), ensemble=engines[1:], reference=reference)
    mean = (softmax(LOGITS) + softmax(other)) / 2
    np.testing.assert_allclose(np.exp(found.logits), mean, rtol=1e-6)
    from sklearn.metrics import log_loss

    assert found.nll == pytest.approx(log_loss(LABELS, mean), rel=1e-6)
    assert found.agreement.reference_top1 == np.mean(LOGITS.argmax(1) == LABELS)


def test_probabilities_are_averaged_over_views(tmp_path):
    """The number of an image lies in its left pixels, another one in those that the mirror brings there."""
    pictures = [Image.new("RGB", (8, 4), (row, 0, 0)) for row in range(100)]
    for row, picture in enumerate(pictures):
        picture.paste((row + 100, 0, 0), (4, 0, 8, 4))
    data = LabelledImages("numbers", pictures, [int(label) for label in LABELS[:100]])
    found = evaluate(TableEngine(tmp_path / "a.onnx", LOGITS), data, views=Views(10), batch=7)
    left, right = (softmax(LOGITS[span]) for span in (slice(100), slice(100, 200)))
    # Of ten crops four show the left side first and four the right, and the centre both.
    np.testing.assert_allclose(np.exp(found.logits), (left + right) / 2, rtol=1e-6)
    assert found.conditions["views"] == 10


def softmax(logits):
    values = np.exp(logits.astype(float))
    return values / values.sum(axis=1, keepdims=True)
