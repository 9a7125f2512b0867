"""Every image once, in order, by several threads; what cannot be read is left out, up to a limit."""

import threading

import pytest

from edgecnn.errors import DataError, EngineError
from edgecnn.measure.accuracy.infer_images import sweep


def read_but(*broken):
    def read(image):
        if image in broken:
            raise DataError(f"{image} is damaged")
        return image

    return read


def together(batch, rows):
    assert len(batch) == len(rows)
    return list(batch)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [1, 7, 8, 50])
def test_images_come_in_their_order(workers, count):
    names = [f"{row}.png" for row in range(count)]
    found = sweep(names, read_but(), together, batch=4, workers=workers)
    assert [name for part in found.results for name in part] == names
    assert found.rows.tolist() == list(range(count)) and found.skipped == ()


def test_an_unreadable_image_is_left_out_and_listed():
    names = [f"{row}.png" for row in range(20)]
    found = sweep(names, read_but("3.png", "11.png"), together, batch=4)
    assert found.rows.tolist() == [row for row in range(20) if row not in (3, 11)]
    assert [item.image for item in found.skipped] == ["3.png", "11.png"]
    assert found.skipped[0].reason == "3.png is damaged"


def test_a_batch_without_a_readable_image_is_never_inferred():
    names = [f"{row}.png" for row in range(12)]
    found = sweep(names, read_but(*names[4:8]), together, batch=4)
    assert [len(part) for part in found.results] == [4, 4]


def test_more_than_a_few_unreadable_images_are_an_error():
    names = [f"{row}.png" for row in range(100)]
    sweep(names, read_but(*names[:10]), together, batch=4)
    with pytest.raises(DataError, match=r"11 of 100 images cannot be read: 0\.png, 1\.png"):
        sweep(names, read_but(*names[:11]), together, batch=4, workers=1)


def test_five_percent_of_many_may_be_unreadable():
    names = [f"{row}.png" for row in range(1000)]
    assert len(sweep(names, read_but(*names[::20]), together, batch=8).skipped) == 50
    with pytest.raises(DataError, match="51 of 1000"):
        sweep(names, read_but(*names[::20], names[1]), together, batch=8, workers=1)


def test_no_readable_image_at_all_is_an_error():
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        sweep(["a", "b"], read_but("a", "b"), together, batch=4)


def test_one_thread_reads_while_another_infers():
    """Each waits for the other: only threads side by side get through."""
    reading, inferring = threading.Event(), threading.Event()

    def read(image):
        if image >= 2:
            reading.set()
            assert inferring.wait(10)
        return image

    def infer(batch, rows):
        if batch == [0, 1]:
            inferring.set()
            assert reading.wait(10)
        return batch

    assert sweep(range(4), read, infer, batch=2, workers=2).results == [[0, 1], [2, 3]]


def test_no_more_batches_are_read_than_there_are_threads():
    seen, held = [], threading.Event()

    def infer(batch, rows):
        held.wait(10)
        return batch

    opened = []
    timer = threading.Timer(0.2, lambda: (opened.append(len(seen)), held.set()))
    timer.start()
    sweep(range(40), lambda row: seen.append(row) or row, infer, batch=2, workers=2)
    assert opened == [4]


def test_an_error_of_the_engine_ends_the_sweep_at_once():
    inferred = []

    def infer(batch, rows):
        inferred.append(batch)
        raise EngineError("it broke")

    with pytest.raises(EngineError, match="it broke"):
        sweep(range(10_000), read_but(), infer, batch=2, workers=2)
    assert len(inferred) < 5_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgecnn-sweep")]
