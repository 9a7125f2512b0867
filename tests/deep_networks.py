"""Networks that are deeper, wider or newer settings of one that the same code builds: for the long tests."""

import pytest

from edgecnn import zoo

#: Networks that give class scores.
CLASSIFIERS = [row for row in zoo.ARCHITECTURES if row.task == "classification"]

DEEP = {
    *("densenet161", "densenet169", "densenet201", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5"),
    *("efficientnet_b6", "efficientnet_b7", "efficientnet_lite3", "efficientnet_lite4"),
    *("efficientnet_b1", "efficientnet_b2", "efficientnet_lite1", "efficientnet_lite2"),
    *("mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "resnet34", "resnet50"),
    *("se_resnext50_32x4d", "shufflenet_v1_g2", "shufflenet_v1_g4"),
    *("shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "vit_small"),
    *("resnet101", "resnet152", "resnext101_32x8d", "wide_resnet50_2"),
    *(f"regnet_{kind}_{size}" for kind in "xy" for size in ("400mf", "600mf", "800mf", "1_6gf", "3_2gf")),
    *(
        "regnet_x_200mf",
        "repvgg_a0",
        "repvgg_a1",
        "repvgg_a2",
        "repvgg_b0",
        "repvgg_b1",
        "repvgg_b2",
        "repvgg_b3",
    ),
    *(
        "mobileone_s0",
        "mobileone_s1",
        "mobileone_s2",
        "mobileone_s3",
        "mobileone_s4",
        "convnext_tiny",
        "convnext_small",
    ),
    *(f"efficientnet_v2_{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l")),
    *("convnext_base", "mobilenet_v4_conv_medium", "mobilenet_v4_conv_large"),
    *(row.name for row in zoo.ARCHITECTURES if row.task != "classification" and row.backbone is None),
    *("vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "nasnet_large"),
}


def named(name: str, *values: object, long: frozenset[str] | set[str] = frozenset(DEEP)):
    """A case by a network's name; `values` are the test's arguments, or the name itself is."""
    return pytest.param(*(values or (name,)), id=name, marks=[pytest.mark.slow] * (name in long))
