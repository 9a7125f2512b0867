"""Many images: in order, few in memory, decoded beside the engine."""

import itertools
import threading

import numpy as np
import pytest
from PIL import Image
from program import SMALL

from edgecnn.errors import DataError
from edgecnn.runtime import load
from edgecnn.runtime.image_stream import stream


@pytest.fixture(scope="module")
def engine(exported):
    with load(exported(*SMALL), device="cpu", threads=1) as opened:
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
    computing, decoding = threading.Event(), threading.Event()
    numbers = itertools.count()
    prepare, run = engine.prepare, engine.run

    def prepare_and_tell(images):
        if next(numbers) >= 4:  # of the second batch
            assert computing.wait(60)
            decoding.set()
        else:
            assert not computing.is_set()
        return prepare(images)

    def run_until_others_are_prepared(array):
        computing.set()
        assert decoding.wait(60)
        return run(array)

    monkeypatch.setattr(engine, "prepare", prepare_and_tell)
    monkeypatch.setattr(engine, "run", run_until_others_are_prepared)
    assert len(list(stream(engine, pictures[:8], 4))) == 2


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
