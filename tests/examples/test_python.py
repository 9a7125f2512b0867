"""The Python examples, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from program import module

from edgecnn.runtime import load, open_image


@pytest.fixture(scope="module")
def mobilenet(exported) -> Path:
    return exported("mobilenet", "--alpha", "0.5")


def run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_classify_names_every_photograph(examples, mobilenet, photographs):
    done = run(examples / "python/classify.py", mobilenet, *photographs)
    with load(mobilenet, threads=1) as engine:
        for photo in photographs:
            assert f"{photo}: {engine.predict(photo, top=1)[0][0].label} (" in done.stdout


def test_classify_says_in_two_lines_what_is_wrong(examples, mobilenet):
    done = run(examples / "python/classify.py", mobilenet, "nowhere.jpg")
    assert done.returncode == 1
    assert done.stderr == "error: nowhere.jpg is not there\nhint: check the path\n"


# ---- video


def test_a_gif_ends_with_the_class_of_its_last_frame(examples, mobilenet, photographs, tmp_path):
    pictures = [Image.open(photo).resize((240, 240)) for photo in photographs]
    clip = tmp_path / "clip.gif"
    pictures[0].save(clip, save_all=True, append_images=pictures[1:], duration=20)
    done = run(examples / "python/video.py", mobilenet, clip)
    with Image.open(clip) as animation, load(mobilenet, threads=1) as engine:
        animation.seek(2)
        last = engine.predict(np.asarray(animation.convert("RGB")), top=1)[0][0]
    assert re.search(rf"fps .* dropped  {re.escape(last.label)} \(", done.stdout.splitlines()[-1]), (
        done.stderr
    )


def test_a_folder_of_frames_is_read_in_order(examples, photographs, tmp_path):
    for number, photo in enumerate(reversed(photographs)):
        (tmp_path / f"{number}.ppm").write_bytes(photo.read_bytes())
    video = module(examples / "python/video.py")
    for frame, photo in zip(video.frames(str(tmp_path), fps=1e6), reversed(photographs), strict=True):
        assert np.array_equal(frame, np.asarray(open_image(photo)))


def test_only_the_newest_frame_waits(examples):
    newest = module(examples / "python/video.py").Newest()
    for number in range(3):
        newest.put(np.full((1, 1, 3), number, np.uint8))
    newest.close()
    assert newest.take().max() == 2
    assert newest.dropped == 2
    assert newest.take() is None


def test_a_slow_engine_skips_frames_of_a_fast_source(examples, photographs, tmp_path, capsys):
    for number in range(20):
        (tmp_path / f"{number:02}.ppm").write_bytes(photographs[0].read_bytes())

    class Slow:
        count = 0

        def predict(self, frame, top):
            self.count += 1
            time.sleep(0.2)
            return [[type("Best", (), {"label": "espresso", "probability": 0.9})]]

    slow = Slow()
    module(examples / "python/video.py").watch(slow, str(tmp_path), fps=100)
    assert slow.count < 10
    dropped = int(capsys.readouterr().out.splitlines()[-1].split()[2])
    assert slow.count + dropped == 20


def test_a_source_that_cannot_be_read_is_an_error(examples, mobilenet, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(examples / "python/video.py", mobilenet, tmp_path / "empty")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'empty'} holds no images\n")
