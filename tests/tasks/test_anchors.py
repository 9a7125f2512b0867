"""Anchors and points, beside those that torchvision makes, and the points of YOLOX."""

import numpy as np
import pytest
from detector_settings import FCOS, RETINANET, SSD300, SSDLITE, of_torchvision

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.tasks import anchors


@pytest.mark.parametrize("size", [Size(300, 300), Size(320, 320), Size(288, 513)])
def test_default_boxes_are_torchvisions(torchvision, size):
    make = torchvision.models.detection.anchor_utils.DefaultBoxGenerator
    expected = of_torchvision(
        make(SSD300["ratios"], scales=SSD300["scales"], steps=SSD300["steps"]), SSD300, size
    )
    np.testing.assert_allclose(anchors.ssd(SSD300, size), expected, atol=1e-4)
    expected = of_torchvision(make(SSDLITE["ratios"], min_ratio=0.2, max_ratio=0.95), SSDLITE, size)
    np.testing.assert_allclose(anchors.ssd(SSDLITE, size), expected, atol=1e-4)
    expected = of_torchvision(
        make(SSDLITE["ratios"], min_ratio=0.2, max_ratio=0.95, clip=False), SSDLITE, size
    )
    np.testing.assert_allclose(anchors.ssd({**SSDLITE, "clip": False}, size), expected, atol=1e-4)


@pytest.mark.parametrize("size", [Size(256, 256), Size(200, 333)])
def test_anchors_are_torchvisions(torchvision, size):
    make = torchvision.models.detection.anchor_utils.AnchorGenerator
    expected = of_torchvision(
        make(tuple(map(tuple, RETINANET["sizes"])), ((0.5, 1.0, 2.0),) * 5), RETINANET, size
    )
    assert np.array_equal(anchors.retinanet(RETINANET, size), expected)
    expected = of_torchvision(make(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5), FCOS, size)
    assert np.array_equal(anchors.fcos(FCOS, size), expected)


def test_points_of_yolox_are_cells_with_their_stride():
    points = anchors.yolox({"strides": [8, 16]}, Size(16, 24))
    assert points.tolist() == [[0, 0, 8], [1, 0, 8], [2, 0, 8], [0, 1, 8], [1, 1, 8], [2, 1, 8],
                               [0, 0, 16], [1, 0, 16]]  # fmt: skip


def test_grids_may_be_stated():
    assert anchors.grids({"grids": [[3, 4]], "strides": [8]}, Size(300, 300)) == [Size(3, 4)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "the decoder has no strides"),
        ({"strides": "8"}, "the decoder's strides is '8'"),
        ({"strides": [0.001]}, "the decoder's strides is 0.001"),
        ({"strides": [float("nan")]}, "the decoder's strides is"),
        ({"grids": [[1e9, 1e9]]}, "the decoder's grids is"),
        ({"grids": [[2.5, 1]]}, r"the decoder's grids is \[2.5, 1.0\]"),
        (
            {"strides": [8], "ratios": [[2], [2]], "scales": [0.1, 0.2]},
            "1 grids, 2 lists of ratios, 2 scales",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(settings, said):
    with pytest.raises(ArtifactError, match=said):
        anchors.ssd({"ratios": [[2]], "scales": [0.1, 0.2], **settings}, Size(300, 300))
