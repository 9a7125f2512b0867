import math

import pytest
import torch

from edgecnn import zoo
from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.zoo.width import scale


@pytest.mark.parametrize(
    ("channels", "alpha", "expected"),
    [(32, 1.0, 32), (32, 0.5, 16), (24, 0.75, 24), (16, 0.35, 8), (17, 1.0, 17), (1280, 1.4, 1792)],
)
def test_channels_scale_to_a_multiple_of_eight(channels, alpha, expected):
    assert scale(channels, alpha) == expected


def test_scaled_channels_never_fall_under_nine_tenths():
    for channels in range(8, 400, 3):
        for alpha in (0.25, 0.35, 0.5, 0.75, 1.3):
            assert scale(channels, alpha) >= 0.9 * channels * alpha


def test_the_smallest_alpha_that_the_error_names_works():
    with pytest.raises(InvalidValueError, match="none of a layer's 32") as caught:
        scale(32, 1e-3)
    assert scale(32, float(caught.value.hint.split()[-1])) == 8


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf, 1e9, 1e-4])
def test_an_unusable_alpha_is_refused(alpha):
    with pytest.raises(InvalidValueError):
        zoo.create("mobilenet", alpha=alpha)


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": -3}, {"in_channels": 0}])
def test_an_unusable_number_of_classes_or_channels_is_refused(options):
    with pytest.raises(InvalidValueError, match="cannot have"):
        zoo.create("lenet5", **options)


def test_an_unknown_architecture_suggests_its_neighbours():
    with pytest.raises(UnknownNameError) as caught:
        zoo.create("mobilnet_v2")
    assert "mobilenet_v2" in caught.value.hint


def test_creating_a_network_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    zoo.create("lenet5")
    assert torch.equal(torch.rand(3), expected)


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (zoo.create("lenet5", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
