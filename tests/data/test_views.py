"""Views of an image, beside torchvision's crops."""

import importlib

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.views import Views
from edgecnn.errors import InvalidValueError
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing

SQUARE = Preprocessing(24)
WIDE = Preprocessing(24, width=32)


def picture(width=61, height=47):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("preprocessing", [SQUARE, WIDE], ids=["square", "wide"])
@pytest.mark.parametrize("size", [(61, 47), (40, 90), (27, 27)], ids=str)
def test_one_crop_is_what_the_preprocessing_gives(preprocessing, size):
    found = Views().frames(picture(*size), preprocessing)
    np.testing.assert_array_equal(found, prepare.frame(preprocessing, picture(*size))[None])


@pytest.mark.parametrize("size", [(61, 47), (40, 90), (64, 64)], ids=str)
@pytest.mark.parametrize(("crops", "name"), [(5, "FiveCrop"), (10, "TenCrop")])
def test_corners_and_centre_are_torchvisions(size, crops, name, torchvision):
    transforms = importlib.import_module("torchvision.transforms")
    image = picture(*size)
    resized = transforms.Resize(36)(image)
    expected = getattr(transforms, name)(24)(resized)
    found = Views(crops, (36,)).frames(image, SQUARE)
    # torchvision mirrors before it crops, so that its left corners are then the right ones here.
    assert {view.tobytes() for view in found} == {np.asarray(view).tobytes() for view in expected}


@pytest.mark.parametrize(
    ("views", "count"),
    [(Views(), 1), (Views(5), 5), (Views(50), 50), (Views(144), 144), (Views(5, (24, 30), True), 20)],
    ids=str,
)
@pytest.mark.parametrize("preprocessing", [SQUARE, WIDE], ids=["square", "wide"])
def test_there_are_as_many_views_as_are_counted(views, count, preprocessing):
    found = views.frames(picture(), preprocessing)
    assert views.count == len(found) == count
    assert found.shape[1:] == (*preprocessing.size, 3)
    if count > 10:
        np.testing.assert_array_equal(found[count // 2 :], found[: count // 2, :, ::-1])


def test_the_last_of_a_square_shows_all_of_it():
    """Left, centre and right third of a picture of three colours, each made smaller."""
    colours = np.zeros((32, 96, 3), np.uint8)
    for third in range(3):
        colours[:, 32 * third : 32 * (third + 1), third] = 255
    found = Views(144).frames(Image.fromarray(colours), SQUARE)
    for third in range(3):
        whole = found[6 * third + 5].astype(int)  # of the first size, six crops for each square
        assert (whole[:, 2:-2].argmax(axis=2) == third).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [((7,), "`crops` 7"), ((10, (), True), "half are mirrored"), ((144, (30,)), "bring their own")],
    ids=str,
)
def test_what_cannot_be_is_refused(values, reason):
    with pytest.raises(InvalidValueError, match=reason) as caught:
        Views(*values)
    assert caught.value.hint


def test_views_that_the_input_does_not_fill_are_refused():
    with pytest.raises(InvalidValueError, match="less than the input"):
        Views(5, (20,)).demand_fit(SQUARE)
    with pytest.raises(InvalidValueError, match="letterbox"):
        Views(5).demand_fit(Preprocessing(24, fit="letterbox"))
