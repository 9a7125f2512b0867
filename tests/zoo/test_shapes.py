"""Shapes by arithmetic are torch's own."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from edgecnn.zoo.analysis.output_shapes import output_shape


def image(*shape):
    return torch.empty(shape, device="meta")


X = image(2, 6, 13, 17)
CALLS = [
    *(
        (F.conv2d, (X, image(8, 6 // groups, *kernel), None, stride, padding, dilation, groups), {})
        for kernel, stride, padding, dilation, groups in itertools.product(
            [(1, 1), (3, 3), (1, 7)], [1, (2, 3)], [0, (1, 2)], [1, 2], [1, 2]
        )
    ),
    (F.conv2d, (X, image(8, 6, 3, 3)), {"stride": 2, "padding": 1}),
    (F.conv1d, (image(1, 4, 9), image(5, 4, 3)), {}),
    *(
        (pool, (X, kernel), {"stride": stride, "padding": padding, "ceil_mode": ceil})
        for pool, kernel, stride, padding, ceil in itertools.product(
            [F.max_pool2d, F.avg_pool2d], [2, (3, 2), 5], [None, 2, 3], [0, 1], [False, True]
        )
    ),
    (F.max_pool2d, (X, 3, 1, 1, 2), {}),
    (F.adaptive_avg_pool2d, (X, 1), {}),
    (F.adaptive_avg_pool2d, (X, (6, 5)), {}),
    (F.linear, (image(2, 7, 5), image(3, 5), image(3)), {}),
    (torch.add, (X, image(6, 1, 1)), {}),
    (torch.add, (image(3, 1), image(4)), {}),
    (torch.mul, (X, 0.5), {}),
    (torch.cat, ([X, X, X], 1), {}),
    (torch.cat, ([X, X],), {"dim": -1}),
    (F.pad, (X, (0, 1, 2, 3)), {}),
    (F.pad, (X, [1, 1]), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_equals_what_torch_returns(function, args, kwargs):
    name = "max_pool2d" if function is F.max_pool2d else function.__name__
    assert output_shape(name, args, kwargs) == tuple(function(*args, **kwargs).shape)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("conv2d", (X, image(8, 6, 15, 15))),
        ("conv2d", (X, image(8, 5, 3, 3))),
        ("conv2d", (X, image(8, 6, 3, 3), None, 1, "same")),
        ("max_pool2d", (X, 19)),
        ("linear", (X, image(3, 5))),
        ("add", (image(2, 3), image(2, 4))),
        ("cat", ([X, image(2, 6, 12, 17)], 1)),
        ("adaptive_avg_pool2d", (X, (None, 1))),
        ("softmax", (X, 1)),
        ("conv2d", ()),
    ],
)
def test_leaves_to_torch_what_cannot_be_and_what_is_unknown(name, args):
    assert output_shape(name, args, {}) is None
