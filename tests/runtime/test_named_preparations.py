"""The preparations by name, against what the frameworks themselves make of pictures."""

import csv

import numpy as np
import pytest
from framework_preparations import GOLDEN, INPUTS, pictures, sha256

from edgecnn.runtime import prepare
from edgecnn.runtime.named_preparations import NAMED_PREPARATIONS

PICTURES = pictures()
ROWS = list(csv.DictReader(GOLDEN.open()))


def test_every_preparation_is_compared():
    assert {row["preparation"] for row in ROWS} == set(NAMED_PREPARATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['preparation']}-{row['input']}")
def test_frames_are_those_of_the_framework(row):
    preparation = NAMED_PREPARATIONS[row["preparation"]].at(INPUTS[row["input"]])
    unlike = [
        index
        for index, picture in enumerate(PICTURES)
        if sha256(prepare.frame(preparation, picture)) != row[str(index)]
    ]
    assert not unlike


@pytest.mark.parametrize(
    ("name", "normalized"),
    [
        ("yolo", lambda x: x / 255),
        ("imagenet", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("paddle", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("half", lambda x: (x / 255 - 0.5) / 0.5),
        ("tf", lambda x: x / 127.5 - 1),
        ("caffe", lambda x: x - [103.939, 116.779, 123.68]),
    ],
)
def test_values_are_those_of_the_framework(name, normalized):
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    expected = normalized(frames.astype(np.float64)).transpose(0, 3, 1, 2)
    rounding = 3e-7 * np.abs(expected).max()  # of float32
    np.testing.assert_allclose(
        prepare.normalize(NAMED_PREPARATIONS[name], frames), expected, rtol=0, atol=rounding
    )
