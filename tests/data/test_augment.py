import dataclasses
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from edgecnn.data.augment import augmented, prepared
from edgecnn.data.augmentations import AUGMENTATIONS, Augmentation, augmentation
from edgecnn.data.builtin import digits
from edgecnn.data.randaugment import OPERATIONS, randaugment
from edgecnn.errors import DataError, UnknownNameError
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import sample_photo
from edgecnn.runtime.preprocessing import Preprocessing

COLOUR = Preprocessing(64)
WIDE = Preprocessing(24, 40, fit="letterbox", color="bgr", pixels=255)
GREY = Preprocessing(32, crop=1.0, mean=(0.1307,), std=(0.3081,))
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def rng(seed=0):
    return np.random.default_rng(seed)


def views(chosen, count=200, image=None, preprocessing=GREY):
    image = digits()[0][0] if image is None else image
    return np.stack([augmented(chosen, image, preprocessing, rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY, WIDE], ids=["colour", "grey", "wide"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("image", [sample_photo(), digits()[0][7]], ids=["photo", "digit"])
def test_every_preset_gives_frames_of_the_inputs_shape(name, image, preprocessing):
    frame = augmented(augmentation(name), image, preprocessing, rng())
    assert frame.dtype == np.uint8
    assert frame.shape == (preprocessing.height, preprocessing.width, preprocessing.channels)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_only_the_generator_decides(name):
    chosen = augmentation(name)
    first, again, other = (augmented(chosen, sample_photo(), COLOUR, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) is (name == "none")
    assert chosen.changes is (name != "none")


def test_none_is_the_preprocessing():
    frame = augmented(augmentation("none"), sample_photo(), COLOUR, rng())
    np.testing.assert_array_equal(frame, prepare.frame(COLOUR, sample_photo()))


def test_an_unknown_preset_suggests_its_neighbours():
    with pytest.raises(UnknownNameError) as caught:
        augmentation("standart")
    assert "standard" in caught.value.hint


def test_an_image_that_cannot_be_read_is_a_data_error():
    with pytest.raises(DataError):
        augmented(augmentation("standard"), b"no image", COLOUR, rng())


def test_half_of_the_images_are_mirrored():
    frames = views(Augmentation("flip", flip=True), 400)
    upright = prepare.frame(GREY, digits()[0][0])
    same = [np.array_equal(frame, upright) for frame in frames]
    mirrored = [np.array_equal(frame, upright[:, ::-1]) for frame in frames]
    assert sum(same) + sum(mirrored) == 400
    assert abs(sum(same) - 200) < 4 * math.sqrt(100)


def test_digits_are_never_mirrored():
    assert not augmentation("digits").flip


def dot(size=32):
    picture = np.zeros((size, size), np.uint8)
    picture[16, 12] = 255
    return picture


def test_shifts_are_whole_pixels_up_to_the_share_and_uniform():
    frames = views(Augmentation("shift", shift=0.125, fill=0), 2000, dot())
    places = np.array([np.argwhere(frame[:, :, 0] == 255)[0] for frame in frames]) - (16, 12)
    for axis in (0, 1):
        counts = np.bincount(places[:, axis] + 4, minlength=9)
        assert len(counts) == 9 and counts.min() > 150


def test_what_a_shift_uncovers_has_the_mean_colour():
    image = np.full((64, 64, 3), 255, np.uint8)
    frames = views(Augmentation("shift", shift=0.25), 50, image, dataclasses.replace(COLOUR, crop=1.0))
    uncovered = {tuple(pixel) for pixel in frames.reshape(-1, 3).tolist()}
    assert uncovered == {(255, 255, 255), (124, 116, 104)}


def test_rotation_and_zoom_keep_the_centre_where_the_shift_puts_it():
    picture = np.zeros((33, 33), np.uint8)
    picture[16, 16] = 255
    frames = views(Augmentation("turn", rotate=20, zoom=0.2, fill=0), 100, picture, GREY.at(33))
    assert (frames[:, 16, 16, 0] > 200).all()


def test_rotation_is_uniform_up_to_its_limit():
    picture = np.zeros((65, 65), np.uint8)
    picture[32, 60] = 255
    angles = []
    for frame in views(Augmentation("turn", rotate=20, fill=0), 400, picture, GREY.at(65)):
        weights = frame[:, :, 0] / frame.sum()
        y, x = (np.indices((65, 65)) * weights).sum(axis=(1, 2)) - 32
        angles.append(math.degrees(math.atan2(y, x)))
    assert -20.5 < min(angles) < -18 and 18 < max(angles) < 20.5 and abs(np.mean(angles)) < 2


def test_zoom_is_uniform_up_to_its_share():
    picture = np.zeros((64, 64), np.uint8)
    picture[16:48, 16:48] = 255
    frames = views(Augmentation("zoom", zoom=0.2, fill=0), 300, picture, GREY.at(64))
    sides = np.sqrt(frames.sum(axis=(1, 2, 3)) / 255) / 32
    assert 0.78 < sides.min() < 0.84 and 1.16 < sides.max() < 1.22 and abs(sides.mean() - 1) < 0.03


@pytest.mark.parametrize("seed", range(4))
def test_shift_rotation_and_zoom_together_are_torchvisions(seed, functional):
    chosen = Augmentation("all", shift=0.1, rotate=30, zoom=0.3, fill=0)
    photo, preprocessing = sample_photo(), dataclasses.replace(COLOUR, crop=1.0)
    draws = rng(seed)
    shift, (turn, grow) = draws.integers(-6, 7, 2).tolist(), draws.uniform(-1, 1, 2).tolist()
    picture = Image.fromarray(prepare.frame(preprocessing, photo))
    expected = functional.affine(
        picture, 30 * turn, shift, 1 + 0.3 * grow, [0.0, 0.0], functional.InterpolationMode.BILINEAR
    )
    got = augmented(chosen, photo, preprocessing, rng(seed))
    assert np.abs(got.astype(int) - np.asarray(expected)).max() <= 1


def test_crops_have_the_areas_asked_for():
    """A picture whose value is its column: the spread of a crop's values is its width."""
    image = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    chosen = Augmentation("crop", crop=(0.25, 1.0))
    across = views(chosen, 300, image, GREY.at(64))
    along = views(chosen, 300, np.ascontiguousarray(image.T), GREY.at(64))
    widths = across.max(axis=(1, 2, 3)).astype(float) - across.min(axis=(1, 2, 3)) + 1
    heights = along.max(axis=(1, 2, 3)).astype(float) - along.min(axis=(1, 2, 3)) + 1
    areas, ratios = widths * heights / 256**2, widths / heights
    assert 0.22 < areas.min() < 0.35 and 0.85 < areas.max() <= 1.0
    assert ratios.min() > 0.7 and ratios.max() < 1.43


def test_pictures_are_kept_no_larger_than_the_smallest_crop_needs():
    chosen = Augmentation("crop", crop=(0.25, 1.0))
    assert min(prepared(chosen, sample_photo(), Preprocessing(64)).picture.size) == 128
    assert prepared(chosen, sample_photo(), Preprocessing(224)).picture.size == sample_photo().size


def test_jitter_of_a_flat_grey_picture_is_its_brightness_alone():
    """Contrast and saturation leave a flat grey picture as it is."""
    image = np.full((64, 64, 3), 100, np.uint8)
    frames = views(Augmentation("jitter", jitter=0.3), 300, image, COLOUR)
    values = frames.reshape(300, -1).astype(float)
    assert (np.ptp(values, axis=1) == 0).all()
    assert 69 <= values.min() < 73 and 127 < values.max() <= 131 and abs(values.mean() - 100) < 4


def test_erasing_hits_its_share_of_the_images_with_areas_between_2_and_40_percent():
    image = np.zeros((64, 64), np.uint8)
    frames = views(Augmentation("erase", erase=0.5), 400, image, GREY.at(64))[..., 0]
    hit = frames.reshape(400, -1).any(axis=1)
    assert abs(hit.sum() - 200) < 4 * math.sqrt(100)
    for frame in frames[hit]:
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / 64**2
        assert 0.015 < area < 0.42


def test_erasing_leaves_the_image_itself_alone():
    image = np.zeros((32, 32), np.uint8)
    views(Augmentation("erase", erase=1.0), 20, image)
    assert not image.any()


@pytest.fixture(scope="module")
def functional():
    """torchvision's functions, beside a PyTorch that lacks two of the operators that they declare."""
    if "torchvision" not in sys.modules:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.transforms.v2 import functional

    return functional


def _sheared(functional, picture, x=0.0, y=0.0):
    shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return functional.affine(
        picture, 0.0, [0, 0], 1.0, shear, functional.InterpolationMode.BILINEAR, center=[0, 0]
    )


#: What torchvision's RandAugment does for the same amount.
COUNTERPARTS = {
    "identity": (0.0, lambda f, picture, a: picture),
    "autocontrast": (0.0, lambda f, picture, a: f.autocontrast(picture)),
    "equalize": (0.0, lambda f, picture, a: f.equalize(picture)),
    "rotate": (17.0, lambda f, picture, a: f.rotate(picture, a, f.InterpolationMode.BILINEAR)),
    "solarize": (100.0, lambda f, picture, a: f.solarize(picture, a)),
    "color": (-0.6, lambda f, picture, a: f.adjust_saturation(picture, 1 + a)),
    "posterize": (5.0, lambda f, picture, a: f.posterize(picture, int(a))),
    "contrast": (0.7, lambda f, picture, a: f.adjust_contrast(picture, 1 + a)),
    "brightness": (0.4, lambda f, picture, a: f.adjust_brightness(picture, 1 + a)),
    "sharpness": (-0.9, lambda f, picture, a: f.adjust_sharpness(picture, 1 + a)),
    "shear_x": (0.2, lambda f, picture, a: _sheared(f, picture, x=a)),
    "shear_y": (-0.3, lambda f, picture, a: _sheared(f, picture, y=a)),
    "translate_x": (0.1, lambda f, picture, a: f.affine(picture, 0.0, [48, 0], 1.0, [0.0, 0.0])),
    "translate_y": (-0.1, lambda f, picture, a: f.affine(picture, 0.0, [0, -32], 1.0, [0.0, 0.0])),
}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_operation_does_what_torchvisions_does(name, mode, functional):
    picture = sample_photo().convert(mode)
    amount, counterpart = COUNTERPARTS[name]
    ours = BY_NAME[name].apply(picture, amount, 0 if mode == "L" else (0, 0, 0))
    expected = counterpart(functional, picture, amount)
    assert ours.mode == mode
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(expected).astype(int))
    # Shears differ by where a pixel's centre is: half a slope.
    assert np.mean(difference > 0) < 0.001 or (name.startswith("shear") and np.mean(difference) < 2)


def test_randaugment_draws_from_the_papers_fourteen_operations():
    assert len(BY_NAME) == 14


@pytest.mark.parametrize(
    "operation", [row for row in OPERATIONS if row.amounts != (0.0, 0.0)], ids=lambda row: row.name
)
def test_an_operation_of_strength_zero_changes_nothing(operation):
    picture = sample_photo()
    got = operation.apply(picture, operation.amounts[0], (0, 0, 0))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(picture))


@pytest.mark.parametrize("seed", range(8))
def test_randaugment_is_the_operations_that_it_drew(seed):
    picture = sample_photo()
    draws = rng(seed)
    expected = picture
    for row in draws.integers(14, size=3):
        operation = OPERATIONS[row]
        amount = operation.amounts[0] + (operation.amounts[1] - operation.amounts[0]) * 9 / 10
        if operation.signed and draws.random() < 0.5:
            amount = -amount
        expected = operation.apply(expected, amount, (0, 0, 0))
    got, _ = randaugment(picture, 3, 9.0, (0, 0, 0), rng(seed))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_no_operation_changes_the_picture_that_it_was_given():
    picture = sample_photo()
    before = picture.tobytes()
    for operation in OPERATIONS:
        operation.apply(picture, operation.amounts[1], (0, 0, 0))
    assert picture.tobytes() == before
