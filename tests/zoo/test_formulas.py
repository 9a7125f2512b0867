"""The papers' own examples."""

import pytest
import torch

from edgecnn import zoo
from edgecnn.zoo import formulas
from edgecnn.zoo.cost import count
from edgecnn.zoo.counts import known


def test_two_stacked_3x3_see_5x5_and_three_see_7x7():
    assert formulas.receptive_field([(3, 1)] * 2) == (5, 1)
    assert formulas.receptive_field([(3, 1)] * 3) == (7, 1)


@pytest.mark.parametrize(("kernel", "pool"), [(3, 2), (5, 2), (11, 3)])
def test_a_convolution_and_a_pool_see_the_sum_less_one(kernel, pool):
    assert formulas.receptive_field([(kernel, 1), (pool, pool)]) == (pool + kernel - 1, pool)


def test_strides_multiply_and_dilation_spreads():
    assert formulas.receptive_field([(7, 2), (3, 2), (3, 1)]) == (19, 4)
    assert formulas.receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)]) == (15, 1)


def test_an_empty_stack_sees_one_pixel():
    assert formulas.receptive_field([]) == (1, 1)


def test_alexnets_first_layer():
    # 96 kernels of 11 x 11 x 3 onto 55 x 55 places (Krizhevsky et al. 2012, section 3.5).
    assert formulas.convolution_weights(11, 3, 96) == 34_848
    assert formulas.convolution_macs(11, 3, 96, 55) == 105_415_200


def test_groups_divide_weights_and_macs():
    assert formulas.convolution_weights(3, 128, 128, groups=32) == 9 * 4 * 128
    assert formulas.convolution_macs(3, 128, 128, 56, groups=32) == 9 * 4 * 128 * 56 * 56


def test_googlenets_bottleneck():
    assert formulas.convolution_weights(1, 192, 64) == 12_288
    assert formulas.convolution_weights(3, 64, 96) == 55_296
    assert formulas.bottleneck_weights(192, 64, 96) == 67_584
    assert formulas.convolution_weights(3, 192, 96) == 165_888


def test_mobilenets_table_3():
    # Howard et al. 2017: million multiply-adds and parameters of the 14 x 14 x 512 layer.
    assert formulas.convolution_macs(3, 512, 512, 14) / 1e6 == pytest.approx(462, abs=0.5)
    assert formulas.convolution_weights(3, 512, 512) / 1e6 == pytest.approx(2.36, abs=0.005)
    separable = [
        formulas.depthwise_separable_macs(3, 512, 512, 14, alpha=alpha, rho=rho) / 1e6
        for alpha, rho in ((1, 1), (0.75, 1), (0.75, 0.714))
    ]
    assert separable == pytest.approx([52.3, 29.6, 15.1], abs=0.05)
    assert formulas.depthwise_separable_weights(3, 512, 512) / 1e6 == pytest.approx(0.27, abs=0.005)
    assert formulas.depthwise_separable_weights(3, 512, 512, alpha=0.75) / 1e6 == pytest.approx(
        0.15, abs=0.005
    )


@pytest.mark.parametrize(("k", "n"), [(3, 64), (3, 512), (5, 128)])
def test_depthwise_separable_over_standard_is_the_ratio(k, n):
    costs = formulas.depthwise_separable_macs(k, 32, n, 28) / formulas.convolution_macs(k, 32, n, 28)
    assert costs == pytest.approx(formulas.depthwise_separable_ratio(k, n)) == pytest.approx(1 / n + 1 / k**2)


def test_the_multipliers_leave_alpha_squared_rho_squared():
    assert formulas.multiplier_ratio(0.5, 0.5) == 1 / 16
    whole = formulas.depthwise_separable_macs(3, 512, 512, 14)
    for alpha, rho in ((0.5, 1.0), (0.75, 1.0), (1.0, 0.5), (0.5, 0.5)):
        left = formulas.depthwise_separable_macs(3, 512, 512, 14, alpha, rho) / whole
        assert left == pytest.approx(formulas.multiplier_ratio(alpha, rho), rel=0.03)


def test_a_whole_mobilenet_shrinks_about_so():
    row = zoo.architecture("mobilenet_v1")

    def macs(alpha, resolution):
        with torch.device("meta"):
            network = zoo.build(row, alpha=alpha)
        return count(network, 3, resolution).macs

    assert macs(0.5, 224) / macs(1, 224) == pytest.approx(formulas.multiplier_ratio(0.5), rel=0.06)
    assert macs(1, 128) / macs(1, 224) == pytest.approx(formulas.multiplier_ratio(1, 128 / 224), rel=0.01)


@pytest.mark.parametrize(
    ("name", "millions", "within"), [("lenet5", 0.060, 0.002), ("googlenet", 6.99, 0.01)]
)
def test_published_sizes(name, millions, within):
    row = zoo.architecture(name)
    with torch.device("meta"):
        network = zoo.build(row)
    params = count(network, row.in_channels, row.resolution).params
    assert params / 1e6 == pytest.approx(millions, abs=within)


def test_alexnet_has_about_61_million_parameters_and_lenet5_about_60_thousand():
    assert known()["alexnet"]["params"] == pytest.approx(61e6, rel=0.01)
    assert known()["lenet5"]["params"] == pytest.approx(60e3, rel=0.05)


def test_googlenet_has_about_a_ninth_of_alexnets_parameters():
    """Szegedy et al. 2014 say twelve times fewer; with the classifier's million counted it is nine."""
    assert known()["alexnet"]["params"] / known()["googlenet"]["params"] == pytest.approx(9, rel=0.05)
