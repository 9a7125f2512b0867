import math

import numpy as np
import pytest

from edgecnn.errors import ParityError
from edgecnn.parity import Output, demand
from edgecnn.tasks.classification import CLASS_SCORES, SCORE, Classification
from edgecnn.tasks.compare import compare, compare_outputs
from edgecnn.tasks.task import VALUES

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(16, 10)).astype(np.float32)


def test_equal_logits_agree_exactly():
    parity = compare(REFERENCE, REFERENCE, "it")
    assert parity.sqnr_db == math.inf and parity.top1_agreement == 1 and parity.max_abs_diff == 0
    assert parity.to_json()["sqnr_db"] is None


def test_sqnr_is_ten_log_ten_of_signal_over_noise():
    noise = np.full_like(REFERENCE, 0.1)
    expected = 10 * math.log10(float((REFERENCE.astype(np.float64) ** 2).sum()) / (0.01 * REFERENCE.size))
    assert compare(REFERENCE, REFERENCE + noise, "it").sqnr_db == pytest.approx(expected, abs=1e-3)


def test_agreement_is_the_share_of_equal_classes():
    output = REFERENCE.copy()
    output[:4] = np.roll(output[:4], 1, axis=1)
    assert compare(REFERENCE, output, "it").top1_agreement == 0.75


@pytest.mark.parametrize("count", [1, 16])
def test_a_reference_that_does_not_vary_proves_nothing(count):
    constant = np.repeat(REFERENCE[:1], count, axis=0)
    with pytest.raises(ParityError, match="prove nothing"):
        compare(constant, constant, "it")


def test_a_reference_of_zeros_proves_nothing():
    with pytest.raises(ParityError, match="prove nothing"):
        compare(REFERENCE * 0, REFERENCE * 0, "it")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    output = REFERENCE.copy()
    output[3, 3] = value
    with pytest.raises(ParityError, match="not finite"):
        compare(REFERENCE, output, "it")


def test_too_far_from_the_reference_is_an_error():
    parity = compare(REFERENCE, REFERENCE * 0.9, "it")
    demand(parity, 19, "it")
    with pytest.raises(ParityError, match=r"20\.0 dB, at least 30 dB"):
        demand(parity, 30, "it")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((16, 10), CLASS_SCORES), ((16, 10, 1, 1), CLASS_SCORES), ((16,), SCORE), ((16, 1), SCORE),
        ((16, 1, 1, 1), SCORE), ((16, 5, 8, 8), VALUES), ((16, 1, 8, 8), VALUES), ((16, 100, 4), VALUES),
    ],
)  # fmt: skip
def test_the_shape_says_what_an_output_decides(shape, kind):
    output = Output("y", np.zeros(shape, np.float32))
    task = Classification()
    assert task.kind(output) == kind
    assert (task.decisions(output) is None) == (kind == VALUES)


@pytest.mark.parametrize(("threshold", "agreement"), [(0.0, 0.75), (0.5, 0.5)])
def test_of_a_single_score_the_side_of_its_threshold_counts(threshold, agreement):
    reference = Output("p", np.float32([[-1], [0.4], [0.6], [0.9]]), threshold)
    output = Output("p", np.float32([[0.1], [0.6], [0.4], [0.8]]))
    (found,) = compare_outputs([reference], [output], "it").outputs
    assert found.top1_agreement == agreement and found.reference_classes == 2


def test_a_score_on_one_side_for_all_images_has_no_agreement():
    scores = np.float32([[1], [2], [3]])
    parity = compare(scores, scores * 0.5, "it")
    assert parity.top1_agreement is None and parity.reference_classes == 1
    assert parity.sqnr_db == pytest.approx(6.02, abs=0.01)


def test_of_several_outputs_the_worst_counts_and_each_is_told():
    boxes = RNG.normal(size=(16, 8, 4)).astype(np.float32)
    changed = REFERENCE.copy()
    changed[0] = np.roll(changed[0], 1)
    references = [Output("classes", REFERENCE), Output("boxes", boxes), Output("others", REFERENCE)]
    outputs = [Output("classes", REFERENCE), Output("boxes", boxes * 0.9), Output("others", changed)]
    parity = compare_outputs(references, outputs, "it")
    by_name = {item.name: item for item in parity.outputs}
    assert by_name["boxes"].sqnr_db == pytest.approx(20) and by_name["boxes"].top1_agreement is None
    assert parity.sqnr_db == min(item.sqnr_db for item in parity.outputs) == by_name["others"].sqnr_db
    assert parity.top1_agreement == 15 / 16 and parity.worst == "'others'"
    values = parity.to_json()
    assert [item["name"] for item in values["outputs"]] == ["classes", "boxes", "others"]
    assert values["outputs"][0]["sqnr_db"] is None
    with pytest.raises(ParityError, match="at output 'others'"):
        demand(parity, 60, "it")


def test_an_output_of_zeros_that_becomes_noise_is_far_from_its_reference():
    zeros = np.zeros_like(REFERENCE)
    parity = compare_outputs(
        [Output("a", REFERENCE), Output("b", zeros)], [Output("a", REFERENCE), Output("b", zeros + 0.1)], "it"
    )
    assert parity.sqnr_db < -1000 and parity.to_json()["sqnr_db"] < -1000


def test_values_that_are_not_finite_are_named_and_counted():
    broken = REFERENCE.copy()
    broken[3:5, 3] = np.nan
    good = Output("good", REFERENCE)
    with pytest.raises(ParityError, match=r"the int8 model gives .* for 2 of 16 images, at output 'bad'"):
        compare_outputs([good, Output("bad", REFERENCE)], [good, Output("bad", broken)], "the int8 model")
    with pytest.raises(ParityError, match=r"reference of it gives .* for 2 of 16 images, at output 'bad'"):
        compare_outputs([good, Output("bad", broken)], [good, Output("bad", REFERENCE)], "it")
