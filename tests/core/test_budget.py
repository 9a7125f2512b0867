import pytest

from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.parity import Parity

PARITY = Parity(max_abs_diff=0.1, sqnr_db=20.0, top1_agreement=0.95, images=100, reference_classes=9)


@pytest.mark.parametrize(
    ("budget", "drop", "met"),
    [
        (Budget(), None, True),
        (Budget(min_sqnr_db=20.0), None, True),
        (Budget(min_sqnr_db=20.1), None, False),
        (Budget(min_agreement=0.95), None, True),
        (Budget(min_sqnr_db=10.0, min_agreement=0.96), None, False),
        (Budget(max_drop=1.0), 1.0, True),
        (Budget(max_drop=1.0), 1.1, False),
        (Budget(max_drop=1.0), None, False),
    ],
)
def test_a_budget_is_met_if_everything_that_it_asks_is(budget, drop, met):
    assert budget.met(PARITY, drop) is met


@pytest.mark.parametrize(
    "values", [{"min_agreement": 1.5}, {"max_drop": -1.0}, {"min_sqnr_db": float("nan")}]
)
def test_what_cannot_be_asked_is_refused(values):
    with pytest.raises(InvalidValueError):
        Budget(**values)


def test_only_what_is_asked_is_recorded():
    assert not Budget().asks and Budget().to_json() == {}
    assert Budget(max_drop=2).to_json() == {"max_drop": 2}


def test_an_agreement_that_could_not_be_measured_is_not_met():
    unknown = Parity(0.1, 20.0, None, 100, None)
    assert not Budget(min_agreement=0.01 + 1e-9).met(unknown) and Budget(min_sqnr_db=20.0).met(unknown)
