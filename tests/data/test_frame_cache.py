"""Decoded images on disk."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.frame_cache import FrameCache
from edgecnn.errors import DataError, OutputError
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(32)
PIXELS = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def cache(tmp_path):
    return FrameCache(tmp_path / "frames")


def counts(cache):
    return cache.decoded, cache.found


def test_a_frame_is_decoded_once_and_then_read(photo, cache):
    expected = prepare.frame(PREPROCESSING, photo)
    for _ in range(3):
        np.testing.assert_array_equal(cache.frame(photo, PREPROCESSING), expected)
    assert counts(cache) == (1, 2)
    again = FrameCache(cache.folder)
    np.testing.assert_array_equal(again.frame(str(photo), PREPROCESSING), expected)
    np.testing.assert_array_equal(again.frame(photo.read_bytes(), PREPROCESSING), expected)
    assert counts(again) == (0, 2)


def test_a_copy_is_known_and_another_content_is_not(photo, cache, tmp_path):
    cache.frame(photo, PREPROCESSING)
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(photo.read_bytes())
    cache.frame(copy, PREPROCESSING)
    assert counts(cache) == (1, 1)
    before = os.stat(copy)
    Image.new("RGB", (80, 60), "red").save(copy)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    np.testing.assert_array_equal(cache.frame(copy, PREPROCESSING), prepare.frame(PREPROCESSING, copy))
    assert counts(cache) == (2, 1)


@pytest.mark.parametrize(
    "change", [{"height": 28, "width": 28}, {"crop": 1.0}, {"interpolation": "nearest"}, {"grey": True}]
)
def test_another_geometry_is_another_frame(photo, cache, change):
    cache.frame(photo, PREPROCESSING)
    other = (
        PREPROCESSING.with_channels(1) if "grey" in change else dataclasses.replace(PREPROCESSING, **change)
    )
    np.testing.assert_array_equal(cache.frame(photo, other), prepare.frame(other, photo))
    assert counts(cache) == (2, 0)


def test_what_comes_after_the_frame_does_not_matter(photo, cache):
    cache.frame(photo, PREPROCESSING)
    cache.frame(photo, dataclasses.replace(PREPROCESSING, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert counts(cache) == (1, 1)


def test_another_pillow_decodes_again(photo, cache, monkeypatch):
    cache.frame(photo, PREPROCESSING)
    monkeypatch.setattr("PIL.__version__", "0.0")
    cache.frame(photo, PREPROCESSING)
    assert counts(cache) == (2, 0)


def test_a_file_that_a_power_cut_left_empty_is_made_anew(photo, cache):
    expected = cache.frame(photo, PREPROCESSING)
    (kept,) = (path for path in cache.folder.rglob("*") if path.is_file())
    kept.write_bytes(b"")
    np.testing.assert_array_equal(cache.frame(photo, PREPROCESSING), expected)
    assert counts(cache) == (2, 0) and kept.stat().st_size == expected.size


def test_arrays_and_pictures_are_not_kept(cache):
    for image in (PIXELS, Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(cache.frame(image, PREPROCESSING), prepare.frame(PREPROCESSING, image))
    assert counts(cache) == (0, 0) and not cache.folder.exists()


def test_what_cannot_be_read_is_refused_by_its_name(cache, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    for path, reason in ((broken, "is not an image"), (tmp_path / "none.jpg", "is not there")):
        with pytest.raises(DataError, match=f"{path.name} {reason}"):
            cache.frame(path, PREPROCESSING)
    assert counts(cache) == (0, 0)


def test_a_cache_that_cannot_be_written_is_one_error(photo, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep decoded images"):
        FrameCache(tmp_path / "file").frame(photo, PREPROCESSING)


def test_threads_share_it(photo, cache):
    expected = prepare.frame(PREPROCESSING, photo)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.frame(photo, PREPROCESSING), range(200)))
    assert all(np.array_equal(frame, expected) for frame in found)
    assert cache.decoded + cache.found == 200 and cache.decoded <= 8
