"""Boxes, what two of them have in common, and which of several stay."""

import numpy as np
import pytest

from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes, overlap, suppress


def corners(count, generator, side=100):
    low = generator.uniform(0, side, (count, 2))
    return np.concatenate([low, low + generator.uniform(1, side / 3, (count, 2))], axis=1).astype(np.float32)


def test_boxes_are_moved_cut_and_chosen():
    boxes = Boxes([[0, 10, 20, 30], [-5, 0, 50, 90]], [1, 2], [0.5, 0.25], [False, True])
    assert boxes.corners.dtype == np.float32 and boxes.classes.dtype == np.int64
    moved = boxes.moved((2, 0.5), (1, -1))
    assert moved.corners.tolist() == [[1, 4, 41, 14], [-9, -1, 101, 44]]
    assert moved.clipped(Size(40, 60)).corners.tolist() == [[1, 4, 41, 14], [0, 0, 60, 40]]
    chosen = boxes.take([1])
    assert len(chosen) == 1 and chosen.classes.tolist() == [2] and chosen.crowd.tolist() == [True]
    assert boxes.areas.tolist() == [400, 55 * 90]
    joined = Boxes.joined([boxes, Boxes([[0, 0, 1, 1]], [0])])
    assert len(joined) == 3 and joined.scores is None and len(Boxes.joined([])) == 0


def test_boxes_whose_parts_differ_in_number_are_refused():
    with pytest.raises(ValueError, match="2 boxes have other counts"):
        Boxes(np.zeros((2, 4)), [1])


def test_the_overlap_is_torchvisions(torchvision):
    import torch

    generator = np.random.default_rng(0)
    left, right = corners(50, generator), corners(60, generator)
    expected = torchvision.ops.box_iou(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    np.testing.assert_allclose(overlap(left, right), expected, atol=1e-6)
    empty = np.zeros((1, 4), np.float32)
    assert overlap(empty, empty).tolist() == [[0]] and overlap(empty, left[:0]).shape == (1, 0)


# Below and above 1,000 boxes torchvision goes two different ways.
@pytest.mark.parametrize(("count", "iou"), [(0, 0.5), (1, 0.5), (300, 0.3), (300, 0.7), (1500, 0.5)])
def test_what_stays_is_what_stays_in_torchvision(detectors, count, iou):
    import torch

    generator = np.random.default_rng(count)
    boxes, scores = corners(count, generator), generator.random(count).astype(np.float32)
    classes = generator.integers(0, 4, count)
    expected = detectors.ops.batched_nms(*map(torch.from_numpy, (boxes, scores, classes)), iou)
    assert suppress(boxes, scores, classes, iou).tolist() == expected.tolist()
    assert suppress(boxes, scores, classes, iou, 7).tolist() == expected[:7].tolist()
