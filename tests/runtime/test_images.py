import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edgecnn.errors import ArtifactError, DataError, InvalidValueError
from edgecnn.runtime import image_limits, prepare
from edgecnn.runtime.image_files import open_image, sample_photo
from edgecnn.runtime.image_folder import find_images
from edgecnn.runtime.preprocessing import Preprocessing

GRADIENT = np.add.outer(np.arange(60), np.arange(90)).astype(np.uint8)


def test_resize_and_crop_are_those_of_torchvision():
    """Shorter side to size / crop, longer side cut to an integer, centre crop rounded half to even."""
    photo = sample_photo()  # 480 x 320
    expected = photo.resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 304, 240))
    np.testing.assert_array_equal(prepare.frame(Preprocessing(), photo), np.asarray(expected))


@pytest.mark.parametrize("size", [(50, 200), (200, 50), (224, 224), (7, 9), (256, 255)])
def test_any_shape_of_image_gives_a_full_frame(size):
    assert prepare.frame(Preprocessing(), Image.new("RGB", size)).shape == (224, 224, 3)


def test_normalization_is_pixel_minus_mean_over_deviation():
    preprocessing = Preprocessing(4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = ((frames / 255 - preprocessing.mean) / preprocessing.std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(prepare.normalize(preprocessing, frames), expected, atol=1e-6)


def test_efficientnet_lite_input_is_pixel_minus_127_over_128():
    preprocessing = Preprocessing(2, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    frames = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    expected = (frames.astype(np.float32) - 127) / 128
    np.testing.assert_allclose(
        prepare.normalize(preprocessing, frames), expected.transpose(0, 3, 1, 2), atol=1e-6
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_can_be_fed(channels):
    preprocessing = Preprocessing(8).with_channels(channels)
    assert prepare.batch(preprocessing, [sample_photo()]).shape == (1, channels, 8, 8)


def test_preprocessing_survives_a_round_trip_through_json():
    preprocessing = Preprocessing(96, interpolation="bicubic").with_channels(1)
    assert Preprocessing.from_json({**preprocessing.to_json(), "later": 1}) == preprocessing


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "picture", "array"])
def test_an_image_may_come_as_file_bytes_picture_or_array(tmp_path, kind):
    picture = Image.fromarray(np.dstack([GRADIENT] * 3))
    picture.save(tmp_path / "p.png")
    given = {
        "path": tmp_path / "p.png",
        "string": str(tmp_path / "p.png"),
        "bytes": (tmp_path / "p.png").read_bytes(),
        "picture": picture,
        "array": np.asarray(picture),
    }[kind]
    np.testing.assert_array_equal(np.asarray(open_image(given)), np.asarray(picture))


def test_a_photo_taken_sideways_is_turned_upright(tmp_path):
    picture = Image.fromarray(GRADIENT)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    picture.save(tmp_path / "p.jpg", exif=exif)
    assert open_image(tmp_path / "p.jpg").size == (60, 90)


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [11_000, 100_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    with pytest.raises(DataError, match="too large to decode"):
        open_image(_bomb(side, side))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_a_file_that_is_no_image_is_one_clear_error(tmp_path, content):
    (tmp_path / "p.png").write_bytes(content)
    with pytest.raises(DataError, match=r"p\.png is (not an image|a damaged image)"):
        open_image(tmp_path / "p.png")


def test_a_truncated_jpeg_is_one_clear_error():
    stream = io.BytesIO()
    sample_photo().save(stream, "JPEG")
    with pytest.raises(DataError, match="damaged"):
        open_image(stream.getvalue()[:2000])


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros(4, np.uint8)]
)
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(DataError, match="cannot be read"):
        open_image(array)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder"):
        open_image(tmp_path)


def test_a_link_that_leads_in_a_circle_is_called_so(tmp_path):
    (tmp_path / "c.png").symlink_to("c.png")
    for read in (open_image, find_images):
        with pytest.raises(DataError, match=r"c\.png is a link that leads in a circle"):
            read(tmp_path / "c.png")


def test_images_are_found_below_a_folder_in_order(tmp_path):
    for name in ("b/2.JPG", "a/1.png", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in find_images(tmp_path)] == ["1.png", "2.JPG"]


@pytest.mark.parametrize("place", ["missing", "file.txt", "empty"])
def test_a_folder_without_images_is_one_clear_error(tmp_path, place):
    (tmp_path / "file.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        find_images(tmp_path / place)


def test_the_limit_is_no_smaller_than_a_large_camera_picture():
    assert image_limits.MAX_PIXELS > 9504 * 6336


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_palette_with_transparency_is_read_in_silence(tmp_path, recwarn, mode):
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    ).quantize(64)
    picture.save(tmp_path / "p.png", transparency=bytes(range(64)))
    found = np.asarray(open_image(tmp_path / "p.png").convert(mode))
    assert not recwarn.list
    alpha = np.asarray(picture)[..., None] / 255
    colours = np.rint(np.asarray(picture.convert("RGB")) * alpha + 255 * (1 - alpha)).astype(np.uint8)
    assert np.array_equal(found, np.asarray(Image.fromarray(colours).convert(mode)))


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path, channels):
    deep = np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "p.png")
    frame = prepare.frame(Preprocessing(64, crop=1.0).with_channels(channels), tmp_path / "p.png")
    np.testing.assert_array_equal(frame[..., 0], deep >> 8)


def test_thirty_two_bits_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "p.tiff")
    with pytest.raises(DataError, match="32 bits per pixel"):
        open_image(tmp_path / "p.tiff")


def test_a_strip_that_would_be_enlarged_without_end_is_refused():
    with pytest.raises(DataError, match="too large to decode"):
        prepare.frame(Preprocessing(), Image.new("L", (1, 300_000)))


def _turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GRADIENT).save(path, exif=exif)


def _deep(path):
    Image.fromarray(np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16)).save(path)


@pytest.mark.parametrize(("write", "name"), [(_turned, "p.jpg"), (_deep, "p.png")])
def test_a_picture_that_the_caller_opened_gives_the_pixels_of_its_file(tmp_path, write, name):
    write(tmp_path / name)
    expected = prepare.frame(Preprocessing(32), tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        np.testing.assert_array_equal(prepare.frame(Preprocessing(32), picture), expected)


def test_a_picture_that_the_caller_opened_is_refused_as_its_file_is(tmp_path):
    stream = io.BytesIO()
    sample_photo().save(stream, "JPEG")
    with pytest.raises(DataError, match="the image is a damaged image"):
        open_image(Image.open(io.BytesIO(stream.getvalue()[:2000])))
    with pytest.raises(DataError, match="32 bits per pixel"):
        open_image(Image.fromarray(np.ones((4, 4), np.float32)))


def test_an_upright_picture_is_not_copied():
    picture = Image.fromarray(GRADIENT)
    assert open_image(picture) is picture


@pytest.mark.parametrize(
    "empty", [Image.new("RGB", (0, 5)), np.zeros((5, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)]
)
def test_an_image_without_pixels_is_refused(empty):
    with pytest.raises(DataError, match="is empty: "):
        prepare.frame(Preprocessing(), empty)


@pytest.mark.parametrize("given", [None, 3, iter(["p.png"]), {"p.png"}, object()])
def test_what_is_no_image_is_refused_by_its_type(given):
    with pytest.raises(DataError, match=r"an object of type \w+ is no image"):
        open_image(given)


def test_whatever_a_decoder_raises_is_one_clear_error(monkeypatch):
    """Found by changing bytes of files: what is sent to a server must not end it."""

    def load(picture):
        raise NotImplementedError("unknown pixel format")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    stream = io.BytesIO()
    Image.fromarray(GRADIENT).save(stream, "PNG")
    with pytest.raises(DataError, match="damaged image: unknown pixel format"):
        open_image(stream.getvalue())


@pytest.mark.parametrize(
    "values",
    [
        {"mean": [0.5] * 1_000_000, "std": [0.5] * 1_000_000},
        {"mean": [float("nan")], "std": [1.0]},
        {"mean": [0.5], "std": [float("inf")]},
        {"mean": [10**400], "std": [1.0]},
    ],
    ids=["a million", "not a number", "infinite", "too large"],
)
def test_means_that_normalize_no_image_are_refused_in_a_line(values):
    with pytest.raises((ArtifactError, InvalidValueError)) as caught:
        Preprocessing.from_json(values)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("size", "crop"), [(32.5, 1.0), (10**9, 1.0), (224, 1e-9), ("32", 1.0), (True, 0.0)])
def test_a_size_to_which_no_image_can_be_cut_is_refused_where_it_is_read(size, crop):
    """Before an array is made of it."""
    with pytest.raises((ArtifactError, InvalidValueError)):
        Preprocessing.from_json({"size": size, "crop": crop, "mean": [0.5], "std": [1.0]})
