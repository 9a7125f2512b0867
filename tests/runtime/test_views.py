"""From pixels of the input back to those of the picture."""

import numpy as np
import pytest
from PIL import Image

from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.picture_fit import FITS
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.boxes import Boxes


@pytest.mark.parametrize("fit", ["letterbox", "letterbox-corner", "stretch"])
def test_boxes_that_are_seen_in_the_input_come_back_within_half_a_pixel(fit):
    """A white rectangle is drawn into a picture, and looked for in the input."""
    generator = np.random.default_rng(0)
    for _ in range(1000 if fit == "letterbox" else 200):
        height, width = (int(side) for side in generator.integers(8, 60, 2))
        input_size = Size(*(int(side) for side in generator.integers(64, 130, 2)))
        x0, y0 = int(generator.integers(0, width - 3)), int(generator.integers(0, height - 3))
        x1, y1 = int(generator.integers(x0 + 2, width + 1)), int(generator.integers(y0 + 2, height + 1))
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[y0:y1, x0:x1] = 255
        preprocessing = Preprocessing(
            *input_size, fit=fit, interpolation="nearest", pad=(0,) * (fit != "stretch")
        )
        seen = np.asarray(prepare.picture(preprocessing, Image.fromarray(pixels)))[..., 0] > 127
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        box = Boxes([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], [0], [1])
        found = prepare.view(preprocessing, Size(height, width)).boxes_back(box)
        np.testing.assert_allclose(found.corners, [[x0, y0, x1, y1]], atol=0.5)


@pytest.mark.parametrize("fit", list(FITS))
def test_there_and_back_is_where_it_was(fit):
    generator = np.random.default_rng(1)
    for _ in range(100):
        picture = Size(*(int(side) for side in generator.integers(1, 3000, 2)))
        view = prepare.view(Preprocessing(320, 256, fit=fit), picture)
        low = generator.uniform(0, 1, (5, 2)) * (picture.width, picture.height)
        high = low + generator.uniform(0, 1, (5, 2)) * ((picture.width, picture.height) - low)
        boxes = Boxes(np.concatenate([low, high], axis=1), np.arange(5))
        back = view.boxes_back(view.boxes_into(boxes))
        np.testing.assert_allclose(back.corners, boxes.corners, atol=0.01)
        assert view.picture == picture and view.input == Size(320, 256)


@pytest.mark.parametrize("fit", list(FITS))
def test_a_mask_comes_back_as_large_as_the_picture(fit):
    """Each quarter of a picture has a class; the input's own pixels say which."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[24:, :, 0], picture[:, 32:, 1] = 255, 255
    preprocessing = Preprocessing(96, 96, fit=fit, crop=1.0, interpolation="nearest")
    seen = np.asarray(prepare.picture(preprocessing, Image.fromarray(picture))) > 127
    mask = (seen[..., 0] * 2 + seen[..., 1]).astype(np.uint8)
    back = prepare.view(preprocessing, Size(48, 64)).mask_back(mask)
    expected = (picture[..., 0] > 0) * 2 + (picture[..., 1] > 0)
    known = back != 255
    assert back.shape == (48, 64) and np.mean(back[known] == expected[known]) > 0.98
    assert known.mean() > (0.7 if fit.startswith("crop") else 0.99)
