import gc
import threading
import time

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.augment import augmented
from edgecnn.data.augmentations import augmentation
from edgecnn.data.dataset import Examples
from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing

GREY = Preprocessing(8, crop=1.0, mean=(0.5,), std=(0.25,))
DIGITS = augmentation("digits")


def numbered(count=50):
    """Flat pictures whose value and label are their number."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 8, 8))
    return Examples(np.ascontiguousarray(images), np.arange(count))


def digits(count=50):
    return open_dataset("digits").train.take(np.arange(count))


def seen(loader, epoch=0, **options):
    """The numbers in each batch."""
    return [labels.tolist() for _, labels in loader.epoch(epoch, **options)]


def flat(lists):
    return [item for items in lists for item in items]


def inputs(loader, epoch=0, **options):
    return [frames for frames, _ in loader.epoch(epoch, **options)]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgecnn-loader")]


def test_a_batch_is_the_preprocessing_of_its_images():
    examples = numbered()
    for frames, labels in Loader(examples, GREY, 16).epoch(0):
        expected = prepare.batch(GREY, examples.images[labels])
        np.testing.assert_array_equal(prepare.normalize(GREY, frames), expected)
        assert frames.dtype == np.uint8 and labels.dtype == np.int64


def test_an_epoch_shows_every_image_once():
    assert sorted(flat(seen(Loader(numbered(), GREY, 8, drop_last=False)))) == list(range(50))


def test_without_shuffling_images_come_in_their_order_and_all_of_them():
    assert seen(Loader(numbered(20), GREY, 8, shuffle=False)) == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]


@pytest.mark.parametrize(("drop_last", "batches"), [(True, 6), (False, 7)])
def test_a_last_batch_that_is_not_full_is_left_out_on_request(drop_last, batches):
    loader = Loader(numbered(), GREY, 8, drop_last=drop_last)
    assert len(loader) == len(seen(loader)) == batches


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [
        seen(Loader(numbered(), GREY, 10, seed=seed), epoch)
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert all(orders[row] != orders[other] for row in range(4) for other in range(row))


def test_augmentation_changes_with_the_epoch_and_the_seed():
    one = Examples(digits(1).images, np.zeros(1, np.int64))
    views = [
        inputs(Loader(one, GREY, 1, augmentation=DIGITS, seed=seed), epoch)[0].tobytes()
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert len(set(views)) == 4


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3}, {"memory": 0}, {"memory": 700}], ids=str)
def test_threads_and_memory_change_nothing(options):
    expected = inputs(Loader(digits(), GREY, 8, augmentation=DIGITS), 1)
    loader = Loader(digits(), GREY, 8, augmentation=DIGITS, **options)
    inputs(loader, 0)
    np.testing.assert_array_equal(inputs(loader, 1), expected)


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees():
    expected = inputs(Loader(digits(), GREY, 8, augmentation=DIGITS), 3)[2:]
    np.testing.assert_array_equal(
        inputs(Loader(digits(), GREY, 8, augmentation=DIGITS), 3, start=2), expected
    )


class Opened:
    """Images that remember which of them were opened."""

    def __init__(self, images):
        self.images, self.rows = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        self.rows.append(row)
        return self.images[row]


def test_batches_before_the_start_are_not_opened():
    images = Opened(numbered(40).images)
    batches = seen(Loader(Examples(images, np.arange(40)), GREY, 8), start=3)
    assert sorted(images.rows) == sorted(flat(batches)) and len(images.rows) == 16


def test_an_image_is_opened_once_as_long_as_it_fits_in_memory():
    images = Opened(numbered(40).images)
    loader = Loader(Examples(images, np.arange(40)), GREY, 8, memory=10 * 64)
    for epoch in range(3):
        seen(loader, epoch)
    counts = np.bincount(images.rows)
    assert sorted(counts) == [1] * 10 + [3] * 30


def test_threads_stay_a_bounded_number_of_batches_ahead():
    images = Opened(numbered(200).images)
    batches = Loader(Examples(images, np.arange(200)), GREY, 2, workers=2).epoch(0)
    next(batches)
    time.sleep(0.2)
    assert len(images.rows) <= 2 * (1 + 3)
    batches.close()


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_see_exactly_what_one_would(world):
    whole = inputs(Loader(digits(), GREY, 8, augmentation=DIGITS), 2)
    shares = [
        inputs(Loader(digits(), GREY, 8, augmentation=DIGITS), 2, rank=rank, world=world)
        for rank in range(world)
    ]
    np.testing.assert_array_equal([np.concatenate(parts) for parts in zip(*shares, strict=True)], whole)


def test_the_last_batch_is_shared_too():
    loader = Loader(numbered(13), GREY, 8, shuffle=False)
    shares = [flat(seen(loader, rank=rank, world=4)) for rank in range(4)]
    assert sorted(flat(shares)) == list(range(13))


@pytest.mark.parametrize("leave", ["close", "forget", "end", "raise"])
def test_leaving_an_epoch_ends_its_threads(leave):
    batches = Loader(numbered(), GREY, 2, workers=2).epoch(0)
    next(batches)
    assert loader_threads()
    if leave == "close":
        batches.close()
    elif leave == "end":
        list(batches)
    elif leave == "raise":
        with pytest.raises(RuntimeError):
            batches.throw(RuntimeError)
    del batches
    gc.collect()
    assert not loader_threads()


class Slow(Opened):
    """Images that take a hundredth of a second each."""

    def __getitem__(self, row):
        time.sleep(0.01)
        return super().__getitem__(row)


def test_leaving_an_epoch_does_not_wait_for_the_batches_ahead():
    images = Slow(numbered(200).images)
    batches = Loader(Examples(images, np.arange(200)), GREY, 20, workers=1).epoch(0)
    next(batches)
    batches.close()
    assert len(images.rows) < 40


@pytest.fixture
def damaged(tmp_path):
    """Twenty picture files; 3, 4 and 19 are damaged. Each one's value is its number."""
    files = []
    for row in range(20):
        files.append(tmp_path / f"{row:02}.png")
        Image.new("L", (8, 8), row).save(files[-1])
    for row in (3, 4, 19):
        files[row].write_bytes(files[row].read_bytes()[:40])
    return Examples(files, np.arange(20))


def test_the_next_readable_image_takes_the_place_of_a_damaged_one(damaged):
    readable = seen(Loader(numbered(20), GREY, 5, seed=1))
    place = {3: 5, 4: 5, 19: 0}
    expected = [[place.get(number, number) for number in batch] for batch in readable]
    assert seen(Loader(damaged, GREY, 5, seed=1)) == expected


def test_an_image_and_its_label_stay_together_around_damaged_ones(damaged):
    for frames, labels in Loader(damaged, GREY, 5).epoch(0):
        np.testing.assert_array_equal(frames[:, 0, 0, 0], labels)


def test_evaluation_leaves_damaged_images_out_with_their_labels(damaged):
    loader = Loader(damaged, GREY, 5, shuffle=False)
    assert flat(seen(loader)) == [row for row in range(20) if row not in (3, 4, 19)]
    for frames, labels in loader.epoch(0):
        np.testing.assert_array_equal(frames[:, 0, 0, 0], labels)


def test_damaged_images_are_listed_with_the_reason(damaged):
    loader = Loader(damaged, GREY, 5)
    seen(loader)
    assert [item.image for item in loader.skipped] == [str(damaged.images[row]) for row in (3, 4, 19)]
    assert all("03.png" in item.reason for item in loader.skipped[:1])


def test_a_batch_of_damaged_images_alone_is_not_given(damaged):
    assert seen(Loader(damaged, GREY, 1, shuffle=False)) == [
        [row] for row in range(20) if row not in (3, 4, 19)
    ]


def test_too_many_damaged_images_are_one_error_that_names_the_first(damaged):
    with pytest.raises(DataError, match=r"3 of 20 images cannot be read: .*03\.png, .*04\.png, .*19\.png"):
        seen(Loader(damaged, GREY, 5, shuffle=False, max_skipped=2))


@pytest.mark.parametrize(("count", "allowed"), [(20, 10), (400, 20)])
def test_a_twentieth_of_the_images_and_at_least_ten_may_be_damaged(count, allowed):
    def make(bad):
        return Examples(
            [b"no image"] * bad + list(numbered(200).images) * 2, np.zeros(bad + 400, np.int64)
        ).take(np.arange(count))

    seen(Loader(make(allowed), GREY, 4, shuffle=False))
    with pytest.raises(DataError, match=f"{allowed + 1} of {count} images"):
        seen(Loader(make(allowed + 1), GREY, 4, shuffle=False))


def test_images_that_are_all_damaged_are_one_error():
    with pytest.raises(DataError, match="none of the 4 images can be read"):
        seen(Loader(Examples([b"no"] * 4, np.zeros(4, np.int64)), GREY, 2))


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 60}, {"workers": 0}, {"seed": -1}])
def test_loaders_that_cannot_work_are_refused(options):
    with pytest.raises(InvalidValueError):
        Loader(numbered(), GREY, **{"batch": 8, **options})


@pytest.mark.parametrize(
    "options", [{"index": -1}, {"start": -1}, {"rank": 2, "world": 2}, {"rank": -1}, {"world": 3}]
)
def test_epochs_that_cannot_be_are_refused_at_once(options):
    with pytest.raises(InvalidValueError):
        Loader(numbered(), GREY, 8).epoch(**{"index": 0, **options})


def test_augmented_colour_files_give_the_views_of_their_generators(tmp_path):
    """Position p of epoch e is drawn from (seed, e, 1 + p), whatever was kept in memory."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 50, 40, 3), np.uint8)
    files = [tmp_path / f"{row}.png" for row in range(4)]
    for file, pixels in zip(files, noise, strict=True):
        Image.fromarray(pixels).save(file)
    chosen, preprocessing = augmentation("strong"), Preprocessing(16)
    loader = Loader(Examples(files, np.arange(4)), preprocessing, 2, augmentation=chosen, seed=7)
    for epoch in range(2):
        position = 0
        for frames, labels in loader.epoch(epoch):
            for frame, label in zip(frames, labels, strict=True):
                rng = np.random.default_rng([7, epoch, 1 + position])
                np.testing.assert_array_equal(frame, augmented(chosen, files[label], preprocessing, rng))
                position += 1
