import math

import numpy as np
import pytest

from edgecnn.errors import ParityError
from edgecnn.parity import compare, demand

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
