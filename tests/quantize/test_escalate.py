"""Where training stands among the attempts, with a quantizer and a judge that only keep count."""

from types import SimpleNamespace

import pytest

from edgecnn.budget import Budget
from edgecnn.parity import Parity
from edgecnn.quantize.effort_levels import FITTED
from edgecnn.quantize.escalate import TRAINING, Verdict, escalate, fewest
from edgecnn.quantize.layer_sensitivity import LayerSensitivity


class Quantizer:
    """Gives results whose "model" is their quality in decibels: 10 by the best recipe, 30 with float."""

    macs = {"first": 10, "second": 90}  # noqa: RUF012
    time = None

    def least_seconds(self, recipe):
        return pytest.fail("asked without a time to keep")

    seconds_of = least_seconds

    def __call__(self, recipe, exclude=()):
        alone = 10.0 if recipe is FITTED else 0.0
        return SimpleNamespace(model=30.0 if exclude else alone, recipe=recipe, int8_mac_share=1.0)


def judge(decibels):
    return Verdict(Parity(0.0, decibels, 1.0, 100, 10))


def scan(quantized):
    assert quantized.recipe.name == FITTED.name, "mixed precision starts from what a recipe can make again"
    return [LayerSensitivity(name, "Conv", macs, 0.0, 0.0) for name, macs in Quantizer.macs.items()]


def escalated(finetune, least):
    return escalate(Quantizer(), judge, scan, budget=Budget(min_sqnr_db=least), finetune=finetune)


def trained_to(decibels):
    def finetune(quantized):
        assert quantized.model == 10.0, "training starts from the best recipe"
        return SimpleNamespace(model=decibels, recipe=SimpleNamespace(name="trained"), int8_mac_share=1.0)

    return finetune


def names(outcome):
    return [attempt.name for attempt in outcome.attempts]


def test_training_is_the_last_attempt_where_it_meets_the_budget():
    outcome = escalated(trained_to(25.0), 20)
    assert outcome.met and outcome.quantized.model == 25.0
    assert names(outcome)[-1] == TRAINING and names(outcome)[-2] == FITTED.name


def test_nothing_is_trained_where_a_recipe_meets_the_budget():
    outcome = escalated(lambda quantized: pytest.fail("trained"), 5)
    assert outcome.met and TRAINING not in names(outcome)


def test_layers_in_float_come_after_training_that_did_not_help():
    outcome = escalated(trained_to(15.0), 20)
    assert outcome.met and outcome.quantized.model == 30.0
    assert names(outcome).index(TRAINING) < names(outcome).index(f"{FITTED.name}, 1 layer float")


@pytest.mark.parametrize(("decibels", "kept"), [(15.0, 15.0), (5.0, 10.0)])
def test_of_a_budget_that_nothing_meets_the_better_of_trained_and_untrained_is_kept(decibels, kept):
    outcome = escalated(trained_to(decibels), 40)
    assert not outcome.met and outcome.quantized.model == kept


def test_without_a_budget_training_is_tried_once_and_kept_where_it_is_better():
    outcome = escalate(Quantizer(), judge, scan, finetune=trained_to(15.0))
    assert names(outcome) == [FITTED.name, TRAINING] and outcome.quantized.model == 15.0


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5, 8, 13])
def test_the_least_count_that_is_enough_is_found_with_few_attempts(most):
    for least in range(1, most + 2):
        tried = []

        def attempt(count, least=least, tried=tried):
            tried.append(count)
            return f"{count} layers" if count >= least else None

        assert fewest(attempt, most) == (f"{least} layers" if least <= most else None)
        assert len(tried) == len(set(tried)) and len(tried) <= 2 * most.bit_length()
        assert all(1 <= count <= most for count in tried)


def test_counts_are_doubled_and_then_the_gap_is_halved():
    tried = []
    fewest(lambda count: tried.append(count) or (count >= 6 or None), 13)
    assert tried == [1, 2, 4, 8, 6, 5]
