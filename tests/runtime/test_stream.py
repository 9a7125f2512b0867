"""Many images: in order, few in memory, decoded beside the engine."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from edgecnn.errors import DataError
from edgecnn.runtime import load
from edgecnn.runtime.stream import stream


@pytest.fixture(scope="module")
def engine(exported):
    with load(exported("mobilenet", "--alpha", "0.25", "--resolution", "96"), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(coffee):
    photo = Image.open(coffee)
    return [photo.crop((20 * row, 0, 20 * row + 200, 200)) for row in range(11)]


def test_logits_are_those_of_one_image_at_a_time(engine, pictures):
    parts = list(stream(engine, pictures, 4))
    assert [len(part) for part in parts] == [4, 4, 3]
    alone = np.concatenate([engine(engine.prepare([picture])) for picture in pictures])
    assert np.allclose(np.concatenate(parts), alone, rtol=1e-4, atol=1e-5)


def test_predictions_of_many_images_keep_their_order(engine, pictures):
    together = engine.predict(pictures, top=1, batch=3)
    alone = [engine.predict(picture, top=1)[0] for picture in pictures]
    assert [best[0].index for best in together] == [best[0].index for best in alone]


def test_the_next_images_are_decoded_while_the_engine_computes(engine, pictures, monkeypatch):
    inside = threading.Event()
    seen = []
    prepare, run = engine.prepare, engine.run

    def slow(images):
        seen.append(inside.is_set())
        return prepare(images)

    def busy(array):
        inside.set()
        time.sleep(0.1)
        inside.clear()
        return run(array)

    monkeypatch.setattr(engine, "prepare", slow)
    monkeypatch.setattr(engine, "run", busy)
    list(stream(engine, pictures[:8], 4))
    assert not any(seen[:4]) and any(seen[4:])


def test_no_more_than_two_batches_are_opened_ahead(engine, pictures):
    opened = []

    def images():
        for picture in pictures * 4:
            opened.append(picture)
            yield picture

    parts = stream(engine, images(), 2)
    next(parts)
    assert len(opened) == 4
    parts.close()


def test_an_unreadable_image_is_named(engine, pictures, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        list(stream(engine, [*pictures[:3], broken], 2))
