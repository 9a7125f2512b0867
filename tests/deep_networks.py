"""Networks that are deeper, wider or newer settings of one that the same code builds: for the long tests."""

import pytest

DEEP = {
    *("densenet161", "densenet169", "densenet201", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5"),
    *("efficientnet_b6", "efficientnet_b7", "efficientnet_lite3", "efficientnet_lite4"),
    *("resnet101", "resnet152", "resnext101_32x8d", "wide_resnet50_2"),
    *("vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "nasnet_large"),
}


def named(name: str, *values: object, long: frozenset[str] | set[str] = frozenset(DEEP)):
    """A case by a network's name; `values` are the test's arguments, or the name itself is."""
    return pytest.param(*(values or (name,)), id=name, marks=[pytest.mark.slow] * (name in long))
