"""A point's name, stride and number of channels are those of the features that are then compared."""

import pytest
import torch

from edgecnn import zoo
from edgecnn.compress.distill.feature_points import of_module
from edgecnn.compress.distill.teacher import with_features


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0", "xception", "squeezenet1_0", "googlenet"])
def test_the_features_at_a_point_have_its_stride_and_channels(name):
    network = zoo.create(name, alpha=0.125, num_classes=3)
    points = of_module(network, 3, 96)
    names = [point for point, _ in points.values()]
    with torch.no_grad():
        _, found = with_features(network, torch.zeros(1, 3, 96, 96), names)
    assert len(points) >= 3
    for (stride, (_, channels)), features in zip(points.items(), found, strict=True):
        assert (round(96 / features.shape[2]), features.shape[1]) == (stride, channels)
