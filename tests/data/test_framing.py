"""Boxes and masks go where the pixels go: through fitting, and through every augmentation."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.augment import applied, prepared
from edgecnn.data.augmentations import AUGMENTATIONS, Augmentation, augmentation
from edgecnn.data.crops import box_around
from edgecnn.data.dataset import Examples
from edgecnn.data.framing import Framing
from edgecnn.data.loader import Loader
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.picture_fit import FITS
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.boxes import Boxes, overlap

GREY = Preprocessing(64, fit="stretch", mean=(0.5,), std=(0.5,))
#: Every kind of movement alone, and the presets.
MOVEMENTS = {
    "crop": Augmentation("crop", crop=(0.1, 1.0)),
    "expand": Augmentation("expand", crop=(0.3, 1.0), expand=4.0),
    "flip": Augmentation("flip", flip=True),
    "shift": Augmentation("shift", shift=0.3),
    "rotate": Augmentation("rotate", rotate=45.0),
    "zoom": Augmentation("zoom", zoom=0.4),
    "randaugment": Augmentation("randaugment", randaugment=(2, 8.0)),
    **{name: augmentation(name) for name in AUGMENTATIONS},
}


def random_picture(draws: np.random.Generator) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return a black picture with a white box, and where it is."""
    high, wide = draws.integers(40, 160, 2).tolist()
    x0, y0 = int(draws.integers(0, wide - 16)), int(draws.integers(0, high - 16))
    x1, y1 = int(draws.integers(x0 + 12, wide + 1)), int(draws.integers(y0 + 12, high + 1))
    picture = np.zeros((high, wide), np.uint8)
    picture[y0:y1, x0:x1] = 255
    return picture, (x0, y0, x1, y1)


def around(shown: np.ndarray) -> np.ndarray | None:
    """Return the box around all pixels that are set; None without any."""
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) if len(rows) else None


def colourless(chosen: Augmentation) -> Augmentation:
    """Return an augmentation that moves pixels alone, on black."""
    return dataclasses.replace(chosen, jitter=0.0, erase=0.0, fill=0)


@pytest.mark.parametrize("name", MOVEMENTS)
def test_a_box_is_around_the_pixels_that_were_its_own(name):
    """Of the framing's mask, and of the picture itself where no operation changes its colours."""
    chosen, seen = colourless(MOVEMENTS[name]), 0
    for seed in range(60):
        draws = np.random.default_rng(seed)
        picture, box = random_picture(draws)
        label = Boxes(np.float32([box]), np.array([1], np.int64))
        frame, framing = applied(chosen, prepared(chosen, picture, GREY), GREY, draws, label.corners)
        shown = framing.mask((picture > 0).astype(np.uint8)) == 1
        if chosen.randaugment is None:
            assert np.mean((frame[..., 0] > 127) != shown) < 0.03
        found, there = framing.boxes(label), around(shown)
        if len(found):
            seen += 1
            assert np.abs(found.corners[0] - there).max() <= 1.0, (seed, found.corners, there)
            assert found.classes.tolist() == [1]
        elif there is not None:
            kept = (there[2:] - there[:2]).prod() / (
                1 / _scale(framing) * (box[2] - box[0]) * (box[3] - box[1])
            )
            assert kept < 0.3 or min(there[2:] - there[:2]) <= 2
    assert seen > 30


def _scale(framing: Framing) -> float:
    """Return how many square pixels of the picture one of the input shows."""
    a, b, _, d, e, _ = framing.matrix
    return abs(a * e - b * d)


def _ties(framing: Framing) -> np.ndarray:
    """Return where the middle of a pixel of the input lies between two of the picture."""
    a, _, c, _, e, f = framing.matrix
    across = (np.arange(framing.size.width) + 0.5) * a + c
    along = (np.arange(framing.size.height) + 0.5) * e + f
    between = [np.abs(values - np.rint(values)) < 1e-6 for values in (along, across)]
    return between[0][:, None] | between[1][None]


@pytest.mark.parametrize("fit", FITS)
def test_masks_are_fitted_as_pictures_are_to_the_byte(fit):
    """With the nearest pixel for both, in 40 sizes, but where two pixels are as near; padding is ignored."""
    for seed in range(40):
        draws = np.random.default_rng(seed)
        high, wide, tall, broad = draws.integers(8, 90, 4).tolist()
        preprocessing = Preprocessing(tall, broad, fit=fit, interpolation="nearest", mean=(0.5,), std=(0.5,))
        if FITS[fit].pads:
            preprocessing = dataclasses.replace(preprocessing, pad=(255,))
        mask = draws.integers(0, 200, (high, wide), np.uint8)
        framing = Framing.of(prepare.view(preprocessing, Size(high, wide)))
        expected = prepare.frame(preprocessing, mask)[..., 0]
        differ = framing.mask(mask) != expected
        assert not differ[~_ties(framing)].any(), (seed, high, wide, tall, broad)


@pytest.mark.parametrize("fit", FITS)
def test_fitted_boxes_are_those_of_the_runtimes_view(fit):
    for seed in range(40):
        draws = np.random.default_rng(seed)
        high, wide, tall, broad = draws.integers(20, 200, 4).tolist()
        view = prepare.view(Preprocessing(tall, broad, fit=fit), Size(high, wide))
        middle = Boxes(np.float32([[wide * 0.4, high * 0.4, wide * 0.6, high * 0.6]]), np.zeros(1, np.int64))
        expected = view.boxes_into(middle).clipped(Size(tall, broad)).corners
        np.testing.assert_allclose(Framing.of(view).boxes(middle).corners, expected, atol=1e-3)


def test_what_is_left_of_a_box_decides_whether_it_stays():
    framing = Framing(Size(10, 10), Size(10, 10), (1, 0, 5, 0, 1, 0))  # shifted by five to the left
    corners = np.float32([[0, 0, 4, 4], [0, 0, 6, 4], [4, 2, 8, 6], [5, 0, 5.5, 4]])
    found = framing.boxes(Boxes(corners, np.arange(4), crowd=np.array([0, 0, 1, 0], bool)))
    assert found.classes.tolist() == [2] and found.crowd.tolist() == [True]
    assert found.corners.tolist() == [[0, 2, 3, 6]]


def test_an_erased_object_is_none_and_its_pixels_are_ignored():
    framing = Framing(Size(20, 20), Size(20, 20), (1, 0, 0, 0, 1, 0), erased=(0, 0, 10, 10))
    found = framing.boxes(Boxes(np.float32([[1, 1, 9, 9], [5, 5, 15, 15]]), np.arange(2)))
    assert found.classes.tolist() == [1] and found.corners.tolist() == [[5, 5, 15, 15]]
    mask = framing.mask(np.ones((20, 20), np.uint8))
    assert (mask[:10, :10] == 255).all() and (mask == 1).sum() == 300


def test_masks_of_many_classes_stay_whole():
    framing = Framing(Size(4, 4), Size(4, 4), (1, 0, 1, 0, 1, 0))
    mask = framing.mask(np.full((4, 4), 70_000, np.int32))
    assert mask.dtype == np.int32 and set(np.unique(mask)) == {255, 70_000}


def test_crops_around_objects_show_some_of_one():
    corners = np.float32([[10, 10, 20, 20], [70, 60, 99, 89]])
    whole, least = 0, []
    for seed in range(300):
        box = np.float32(box_around((100, 90), (0.05, 1.0), corners, np.random.default_rng(seed)))
        whole += box.tolist() == [0, 0, 100, 90]
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        assert ((centres >= box[:2]) & (centres <= box[2:])).all(axis=1).any()
        least.append(overlap(box[None], corners).max())
    assert 20 < whole < 200 and min(least) < 0.05 and max(least) > 0.3


class Numbered:
    """A label for each image, which is opened when it is needed."""

    def __init__(self, pictures, masks: bool) -> None:
        self.pictures, self.masks = pictures, masks

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, row):
        picture = self.pictures[int(row)]
        if self.masks:
            return (picture > 0).astype(np.uint8)
        return Boxes(around(picture > 0)[None].astype(np.float32), np.array([row % 3]))


@pytest.fixture(scope="module")
def pictures():
    return [random_picture(np.random.default_rng(seed))[0] for seed in range(30)]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
@pytest.mark.parametrize("name", ["none", "objects", "strong"])
def test_a_batch_has_labels_in_pixels_of_the_input(pictures, task, name):
    examples = Examples(pictures, Numbered(pictures, task == "segmentation"), task)
    loader = Loader(examples, GREY, 8, augmentation=colourless(augmentation(name)), seed=3)
    for frames, labels in loader.epoch(1):
        assert len(labels) == len(frames) == 8
        for frame, label in zip(frames[..., 0], labels, strict=True):
            if task == "segmentation":
                assert label.shape == frame.shape and label.dtype == np.int64
                if name != "strong":
                    assert np.mean((label == 1) != (frame > 127)) < 0.03
            elif name != "strong" and len(label):
                assert np.abs(label.corners[0] - around(frame > 127)).max() <= 1.5


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_batches_are_those_of_the_seed_however_many_threads_and_where_they_start(pictures, task):
    examples = Examples(pictures, Numbered(pictures, task == "segmentation"), task)

    def seen(**more):
        start = more.pop("start", 0)
        loader = Loader(examples, GREY, 8, augmentation=augmentation("objects"), seed=3, **more)
        return [
            (f.tobytes(), repr(np.array([getattr(x, "corners", x) for x in y], object)))
            for f, y in loader.epoch(1, start=start)
        ]

    first = seen(workers=1)
    assert first == seen(workers=3) == seen(memory=0) and first[2:] == seen(start=2)


def test_a_mask_of_another_size_or_that_cannot_be_read_is_listed(pictures):
    masks = [(picture > 0).astype(np.uint8) for picture in pictures]
    masks[4] = masks[4][:-1]
    loader = Loader(Examples(pictures, masks, "segmentation"), GREY, 8, shuffle=False, drop_last=False)
    assert sum(len(labels) for _, labels in loader.epoch(0)) == 29
    assert "image 4 is" in str(loader.skipped[0]) and "its mask" in str(loader.skipped[0])


def test_pictures_without_objects_are_in_batches_like_others(pictures):
    none = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    loader = Loader(
        Examples(pictures, [none] * 30, "detection"), GREY, 10, augmentation=augmentation("objects")
    )
    assert [[len(label) for label in labels] for _, labels in loader.epoch(0)] == [[0] * 10] * 3


def test_a_picture_on_a_canvas_is_whole():
    picture = np.full((30, 50), 255, np.uint8)
    chosen = Augmentation("expand", crop=(1.0, 1.0), expand=3.0, fill=0)
    sides = []
    for seed in range(80):
        frame, framing = applied(chosen, prepared(chosen, picture, GREY), GREY, np.random.default_rng(seed))
        box = framing.boxes(Boxes(np.float32([[0, 0, 50, 30]]), np.zeros(1, np.int64))).corners[0]
        assert np.array_equal(around(frame[..., 0]), np.rint(box))
        sides.append((box[2] - box[0]) / 64)
    assert min(sides) < 0.4 and max(sides) == 1.0 and np.asarray(Image.fromarray(picture)).all()
