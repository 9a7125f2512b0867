"""How pictures are fitted, resized and ordered, against the programs whose arithmetic it is."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import sample_photo
from edgecnn.runtime.picture_fit import FITS
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import vertical_first

NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


def test_a_rectangle_is_covered_and_its_centre_cropped():
    photo = sample_photo()  # 480 x 320
    wide = Preprocessing(64, 160, crop=0.8)  # covers 80 x 200: 200 across leave 133 of the height
    expected = photo.resize((200, 133), Image.Resampling.BILINEAR).crop((20, 34, 180, 98))
    np.testing.assert_array_equal(prepare.frame(wide, photo), np.asarray(expected))
    high = Preprocessing(160, 64, crop=1.0)  # 160 down leave 240 across
    expected = photo.resize((240, 160), Image.Resampling.BILINEAR).crop((88, 0, 152, 160))
    np.testing.assert_array_equal(prepare.frame(high, photo), np.asarray(expected))


def test_a_stretched_picture_fills_the_input_and_crops_nothing():
    frame = prepare.frame(Preprocessing(20, 30, fit="stretch", interpolation="lanczos"), NOISE)
    expected = Image.fromarray(NOISE).resize((30, 20), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(frame, np.asarray(expected))


def test_a_letterboxed_picture_lies_in_the_centre_of_the_padding():
    frame = prepare.frame(Preprocessing(40, fit="letterbox", pad=(7,)), NOISE)  # 53 x 37 becomes 40 x 28
    expected = Image.fromarray(NOISE).resize((40, 28), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(frame[6:34], np.asarray(expected))
    assert (frame[:6] == 7).all() and (frame[34:] == 7).all()


def test_of_an_odd_rest_the_larger_part_comes_after_the_picture():
    assert FITS["letterbox"].place(Size(20, 37), Size(40, 40), 1.0).top == -9  # 22 rows, 18 beside them
    fitted = FITS["letterbox"].place(Size(21, 40), Size(40, 40), 1.0)  # 21 rows, 19 beside them: 9 and 10
    assert (fitted.resized, fitted.top, fitted.left) == ((21, 40), -9, 0)


def test_channels_come_in_the_order_that_is_said_and_so_does_the_padding():
    rgb = Preprocessing(60, fit="letterbox", pad=(1, 2, 3))
    bgr = Preprocessing(60, fit="letterbox", pad=(3, 2, 1), color="bgr")
    np.testing.assert_array_equal(prepare.frame(bgr, NOISE), prepare.frame(rgb, NOISE)[:, :, ::-1])
    assert prepare.frame(rgb, NOISE)[0, 0].tolist() == [1, 2, 3]
    assert (
        prepare.picture(bgr, NOISE).tobytes() == prepare.picture(rgb, NOISE).tobytes()
    )  # people see the same
    grey = prepare.frame(Preprocessing(60, color="grey", mean=(0.5,) * 3, std=(0.5,) * 3), NOISE)
    assert (grey == grey[:, :, :1]).all()
    assert (
        Preprocessing(60, color="grey").channels == 1
        and Preprocessing(mean=(0.1,), std=(0.2,)).color == "grey"
    )


def test_mean_and_deviation_are_in_the_unit_of_the_pixels():
    of_one = Preprocessing(8, mean=(0.25, 0.5, 0.75), std=(0.5,) * 3)
    of_255 = Preprocessing(8, pixels=255, mean=(63.75, 127.5, 191.25), std=(127.5,) * 3)
    frames = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(
        prepare.normalize(of_255, frames), prepare.normalize(of_one, frames), atol=1e-6
    )
    plain = Preprocessing(8, pixels=255)
    assert (plain.mean, plain.std) == ((0.0,) * 3, (1.0,) * 3)
    np.testing.assert_array_equal(prepare.normalize(plain, frames), frames.transpose(0, 3, 1, 2))


def test_the_order_of_the_passes_does_not_depend_on_the_version_of_pillow():
    """What Pillow 13 does in one call, done in two: before it, the rows of tall pictures came last."""
    tall = np.random.default_rng(2).integers(0, 256, (301, 97, 3), np.uint8)
    frame = prepare.frame(Preprocessing(139, 45, fit="stretch"), tall)
    rows, columns = (97, 139), (45, 301)
    expected = Image.fromarray(tall).resize(rows, Image.Resampling.BILINEAR)
    other = Image.fromarray(tall).resize(columns, Image.Resampling.BILINEAR)
    expected, other = (each.resize((45, 139), Image.Resampling.BILINEAR) for each in (expected, other))
    np.testing.assert_array_equal(frame, np.asarray(expected))
    assert not np.array_equal(frame, np.asarray(other))
    assert vertical_first(Size(301, 97), Size(139, 45)) and not vertical_first(Size(200, 100), Size(100, 50))


@pytest.mark.parametrize(
    ("size", "sha256"),
    [
        ((90, 120), "10171a2ff8e3c555"),
        ((11, 53), "4f0f443caebeb229"),
        ((20, 9), "1857a1ff17c623dd"),
        ((1, 1), "37f951a8fe912732"),
        ((37, 54), "78b846d5ee6c6bd4"),
        ((18, 26), "468430d6a5af544f"),  # of 36 x 52: both sides are halved
    ],
)
def test_opencvs_bilinear_is_level_for_level_opencvs(size, sha256):
    """What `cv2.resize` makes with INTER_LINEAR, in OpenCV 4.14 and in 5.0."""
    noise = NOISE[:36, :52] if size == (18, 26) else NOISE
    frame = prepare.frame(Preprocessing(*size, fit="stretch", interpolation="opencv-bilinear"), noise)
    assert hashlib.sha256(frame.tobytes()).hexdigest()[:16] == sha256


def test_what_the_first_manifests_say_is_read_as_it_was_meant():
    old = {"size": 96, "crop": 0.9, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}
    read = Preprocessing.from_json(old)
    assert (read.height, read.width, read.fit, read.color, read.pixels) == (96, 96, "crop", "rgb", 1)
    written = read.to_json()
    assert {key: written[key] for key in old} == old  # and what is written is read by what read those
    assert "size" not in Preprocessing(96, 64).to_json()


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(192, 256, fit="letterbox", pad=(0, 1, 2), color="bgr", pixels=255),
        Preprocessing(32, fit="stretch", interpolation="opencv-bilinear", color="grey"),
        Preprocessing(48, 32, fit="crop-paddle", crop=0.5, interpolation="box"),
    ],
)
def test_everything_that_can_be_said_survives_a_manifest(preprocessing):
    spec = TensorSpec("x", (1, 3, 8, 8), "float32", "NCHW")
    manifest = Manifest((spec,), (spec,), preprocessing=preprocessing.to_json())
    assert Preprocessing.from_json(Manifest.from_json(manifest.to_json()).preprocessing) == preprocessing
