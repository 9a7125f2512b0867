"""The loss of a student, against closed forms."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from edgecnn.compress.distill.objective import attention, soft_targets
from edgecnn.compress.distill.teacher import Translation
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing


def test_soft_targets_are_the_scaled_divergence_of_the_softened_answers():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # at T = 2: 3 to 1, and even
    assert soft_targets(student, teacher, 2.0).item() == pytest.approx(4 * divergence, rel=1e-5)


def test_attention_does_not_depend_on_scale_or_number_of_channels():
    features = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(attention(7 * features.repeat(1, 5, 1, 1)), attention(features))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_teacher_sees_the_image_as_by_its_own_preprocessing(channels, rng):
    image = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8).repeat(2, 0).repeat(2, 1))
    student = Preprocessing(64, crop=1.0, mean=(0.5,), std=(0.25,))
    teacher = Preprocessing(64, crop=1.0).with_channels(channels)
    found = Translation(student, teacher)(torch.from_numpy(prepare.batch(student, [image])))
    torch.testing.assert_close(found, torch.from_numpy(prepare.batch(teacher, [image])), rtol=1e-4, atol=1e-4)


def test_a_teacher_gets_its_order_of_channels_its_unit_and_its_size(rng):
    image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1))
    kinds = {
        "rgb": Preprocessing(64, crop=1.0),
        "bgr of 255": Preprocessing(
            64, crop=1.0, color="bgr", pixels=255, mean=(104.0, 117.0, 124.0), std=(1.0, 2.0, 3.0)
        ),
        "plain 255": Preprocessing(64, crop=1.0, pixels=255),
    }
    for student in kinds.values():
        given = torch.from_numpy(prepare.batch(student, [image]))
        for teacher in kinds.values():
            wanted = torch.from_numpy(prepare.batch(teacher, [image]))
            torch.testing.assert_close(Translation(student, teacher)(given), wanted, rtol=1e-4, atol=1e-3)
    half = Translation(kinds["rgb"], kinds["bgr of 255"].at((32, 48)))(
        torch.from_numpy(prepare.batch(kinds["rgb"], [image]))
    )
    assert half.shape == (1, 3, 32, 48) and float(half[:, 0].max()) > 50
