"""What is opened as an image, what is not, and what its transparent pixels become."""

import io
import os
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgecnn.data.frame_cache import FrameCache
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.runtime import image_files, prepare
from edgecnn.runtime.image_files import open_frames, open_image, read_file, read_header
from edgecnn.runtime.preprocessing import Preprocessing

STAMPS = Path("/usr/share/tuxpaint/stamps")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 4), np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def composed(rgba: np.ndarray) -> np.ndarray:
    """What the documents say: (a c + (255 - a) 255) / 255, rounded."""
    colours, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    return ((2 * (alpha * colours + (255 - alpha) * 255) + 255) // 510).astype(np.uint8)


# ---- formats


@pytest.mark.parametrize("kind", ["EPS", "ICO", "DDS", "PCX", "TGA", "SGI", "PDF", "XBM"])
def test_a_format_that_is_not_named_is_no_image_whatever_it_is_called(tmp_path, kind):
    mode = {"PCX": "L", "XBM": "1"}.get(kind, "RGB")
    (tmp_path / "photo.jpg").write_bytes(encoded(Image.new(mode, (40, 40)), kind))
    with pytest.raises(DataError, match=r"photo\.jpg is not an image"):
        open_image(tmp_path / "photo.jpg")


def test_postscript_is_handed_to_no_program(tmp_path, monkeypatch):
    """Not even when the caller has opened it: Pillow starts the program only where pixels are asked for."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    content = encoded(Image.new("RGB", (8, 8)), "EPS")
    (tmp_path / "p.jpg").write_bytes(content)
    for given in (content, tmp_path / "p.jpg", Image.open(io.BytesIO(content))):
        with pytest.raises(DataError):
            prepare.frame(Preprocessing(8), given)
        with pytest.raises(DataError):
            FrameCache(tmp_path / "frames").frame(given, Preprocessing(8))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF"])
def test_the_named_formats_are_read_from_files_and_from_bytes(tmp_path, kind):
    content = encoded(Image.fromarray(PIXELS[..., :3]), kind)
    (tmp_path / "p.img").write_bytes(content)
    found = [open_image(given) for given in (content, tmp_path / "p.img")]
    assert [picture.size for picture in found] == [(16, 12)] * 2
    assert np.array_equal(*map(np.asarray, found))


# ---- what is no file


@pytest.fixture(params=["pipe", "socket", "device", "endless"])
def special(request, tmp_path):
    path = tmp_path / "p.png"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        request.addfinalizer(listener.close)
    else:
        path.symlink_to("/dev/null" if request.param == "device" else "/dev/zero")
    return path


@pytest.mark.parametrize("read", [open_image, read_header, read_file, lambda path: list(open_frames(path))])
def test_what_is_no_file_is_refused_at_once(special, read):
    failed: list[str] = []

    def work():
        try:
            read(special)
        except DataError as error:
            failed.append(str(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5)
    assert failed and failed[0].startswith(f"{special} is a ") and failed[0].endswith(", not an image")


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path):
    with open(tmp_path / "p.png", "wb") as file:
        file.truncate(1 << 40)
    for read in (open_image, read_file):
        with pytest.raises(DataError, match="more than any image"):
            read(tmp_path / "p.png")


# ---- limits


def test_the_limit_on_pixels_can_be_set_for_a_call_and_for_a_program(monkeypatch):
    content = encoded(Image.new("L", (100, 50)), "PNG")
    with pytest.raises(DataError, match="too large to decode: 100 x 50") as caught:
        open_image(content, max_pixels=4999)
    assert "at most 4,999 pixels" in caught.value.hint
    assert open_image(content, max_pixels=5000).size == (100, 50)
    monkeypatch.setenv("EDGECNN_MAX_PIXELS", "4999")
    for read in (open_image, read_header, lambda image: prepare.frame(Preprocessing(8), image)):
        with pytest.raises(DataError, match="too large to decode"):
            read(content)
    with pytest.raises(DataError, match="too large to decode"):
        open_image(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("setting", ["many", "0", "-5", "1e6", "999999999999", "9" * 5000])
def test_a_limit_that_is_none_is_said(monkeypatch, setting):
    monkeypatch.setenv("EDGECNN_MAX_PIXELS", setting)
    with pytest.raises(InvalidValueError, match="EDGECNN_MAX_PIXELS"):
        open_image(encoded(Image.new("L", (4, 4)), "PNG"))


def progressive(extra: int, **options) -> bytes:
    content = encoded(Image.fromarray(PIXELS[..., :3]), "JPEG", progressive=True, **options)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * extra + content[-2:]


@pytest.mark.parametrize("given", [bytes, lambda content: Image.open(io.BytesIO(content))])
def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(given):
    with pytest.raises(DataError, match="more than 100 scans"):
        open_image(given(progressive(2000)))


def test_an_ordinary_progressive_jpeg_is_read_and_its_thumbnails_do_not_count():
    hidden = b"\xff\xda\x00\x03\x00" * 500  # looks like scans, inside a segment and behind the end
    content = progressive(0, comment=hidden)
    assert np.array_equal(open_image(content + hidden), Image.open(io.BytesIO(content)))


def test_a_picture_in_a_million_pieces_ends_soon():
    """Pillow joins the comments of a GIF, which takes the square of their number."""
    content = encoded(Image.new("P", (4, 4)), "GIF")
    place = content.index(b",")
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"too many pieces|not an image"):
        open_image(content[:place] + b"\x21\xfe\x01x\x00" * 1_000_000 + content[place:])
    assert time.perf_counter() - start < 20


def tags(*entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A TIFF structure of one directory: (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + data


SHAPE = ((256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))


def test_a_tiff_of_a_million_tiles_is_refused_unread():
    count = 1_000_000
    places = ((322, 4, 1, 1), (323, 4, 1, 1), (324, 4, count, 200), (325, 4, count, 200))
    with pytest.raises(DataError, match="its tags claim more"):
        open_image(tags(*SHAPE, *places, data=bytes(4 * count)))


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG"])
def test_tags_that_all_name_the_same_megabyte_are_refused(kind):
    entries = tuple((1000 + number, 7, 1 << 20, 8) for number in range(5000))
    bomb = tags(*SHAPE, *entries, data=bytes(1 << 20))
    if kind != "TIFF":
        bomb = b"Exif\0\0" + bomb
        segments = [bomb[start : start + 65000] for start in range(0, len(bomb), 65000)]
        if kind == "PNG":
            bomb = encoded(Image.new("RGB", (8, 8)), kind, exif=bomb)
        else:
            content = encoded(Image.new("RGB", (8, 8)), kind)
            header = b"".join(
                b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
                for part in (segments[0], *(b"Exif\0\0" + part for part in segments[1:]))
            )
            bomb = content[:2] + header + content[2:]
    with pytest.raises(DataError, match="its tags claim more"):
        open_image(bomb)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_of_holding_a_camera_is_undone_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(PIXELS[..., :3]), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    once = open_image(content)
    np.testing.assert_array_equal(np.asarray(once), expected)
    np.testing.assert_array_equal(np.asarray(open_image(once)), expected)


# ---- transparency


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_composed_on_white(kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = open_image(encoded(Image.fromarray(PIXELS), kind, **options))
    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), composed(PIXELS))


def test_a_grey_picture_with_transparency_stays_grey():
    picture = Image.fromarray(PIXELS[..., :2].copy(), "LA")
    found = open_image(encoded(picture, "PNG"))
    assert found.mode == "L"
    expected = composed(np.dstack([PIXELS[..., :1]] * 3 + [PIXELS[..., 1:2]]))[..., 0]
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize(
    ("picture", "clear"),
    [
        (Image.fromarray(PIXELS[..., 0] // 64), 2),
        (Image.fromarray(np.dstack([PIXELS[..., 0] // 128] * 3)), (1, 1, 1)),
        (Image.fromarray(PIXELS[..., 0].astype(np.uint16) // 64), 2),
        (Image.fromarray(PIXELS[..., :3]).quantize(4), 2),
    ],
    ids=["grey", "colour", "sixteen bits", "palette"],
)
def test_a_colour_that_stands_for_transparent_is_white(picture, clear):
    plain, found = (
        np.asarray(open_image(encoded(picture, "PNG", **options)).convert("RGB"))
        for options in ({}, {"transparency": clear})
    )
    values = np.asarray(picture)
    hidden = (values == clear).all(-1) if values.ndim == 3 else values == clear
    assert 0 < hidden.sum() < hidden.size
    np.testing.assert_array_equal(found[hidden], 255)
    np.testing.assert_array_equal(found[~hidden], plain[~hidden])


def test_training_calibration_and_runtime_see_the_same_picture(tmp_path):
    from edgecnn.data.augment import prepared
    from edgecnn.data.augmentations import augmentation
    from edgecnn.data.calibration_images import ImageSource

    for index in range(8):
        Image.fromarray(np.roll(PIXELS, index, axis=1)).save(tmp_path / f"{index}.png")
    preprocessing = Preprocessing(8)
    source = ImageSource.open(preprocessing, calib=tmp_path, count=8)
    file = source.calibration_files[0]
    white = Image.fromarray(composed(np.asarray(Image.open(file))))
    expected = prepare.frame(preprocessing, white)
    np.testing.assert_array_equal(prepare.frame(preprocessing, file), expected)
    np.testing.assert_array_equal(
        next(source.calibration())[0], prepare.normalize(preprocessing, expected[None])[0]
    )
    for name in ("light", "standard"):
        ready = [prepared(augmentation(name), image, preprocessing).picture for image in (file, white)]
        np.testing.assert_array_equal(*map(np.asarray, ready))


@pytest.mark.skipif(not STAMPS.is_dir(), reason="no cut-outs here: apt install tuxpaint-stamps-default")
def test_no_stamp_shows_a_hidden_colour():
    files = sorted(STAMPS.rglob("*.png"))[::20]
    hiding = 0
    for file in files:
        picture = Image.open(file)
        rgba = np.asarray(picture.convert("RGBA"))
        np.testing.assert_array_equal(np.asarray(open_image(file).convert("RGB")), composed(rgba))
        hiding += bool((rgba[rgba[..., 3] == 0][:, :3] != 255).any())
    assert hiding, "none of them hides a colour"


def test_the_frames_of_an_animation_are_composed_too(tmp_path):
    frames = [Image.fromarray(np.roll(PIXELS, step, axis=0)) for step in range(3)]
    frames[0].save(tmp_path / "p.webp", save_all=True, append_images=frames[1:], lossless=True, exact=True,
                   duration=40)  # fmt: skip
    found = list(open_frames(tmp_path / "p.webp"))
    assert [shown for _, shown in found] == pytest.approx([0.04] * 3)
    for step, (picture, _) in enumerate(found):
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), composed(np.roll(PIXELS, step, axis=0)))


def test_every_image_is_opened_in_one_place():
    package = Path(image_files.__file__).parents[1]
    elsewhere = [
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "Image.open(" in file.read_text() and file != Path(image_files.__file__)
    ]
    assert not elsewhere
