"""The engine's handling of memory, batches, threads and graphs, on a GPU that is none (fake_gpu)."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_gpu import _ExecutionContext

from edgecnn.errors import EdgecnnWarning, EngineError, InputError
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.runtime import load, tensorrt_engine

RNG = np.random.default_rng(0)


def images(count, dtype=np.float32):
    return (RNG.random((count, 3, 16, 16)) * 5).astype(dtype)


def expected(path, array):
    with load(path.with_suffix(".onnx"), device="cpu", threads=1) as engine:
        return engine(array)


def test_logits_are_those_of_the_network(engine_file):
    path = engine_file("1:2:4")
    array = images(3)
    with load(path) as engine:
        assert engine.device == "cuda" and engine.classes == 5 and engine.batches == (1, 4)
        np.testing.assert_array_equal(engine(array), expected(path, array))


def test_an_answer_is_not_overwritten_by_the_next(engine_file):
    path = engine_file()
    first, second = images(1), images(1)
    with load(path) as engine:
        answer = engine(first)
        engine(second)
    np.testing.assert_array_equal(answer, expected(path, first))


def test_without_a_batch_the_engine_takes_one_image(engine_file):
    with load(engine_file()) as engine:
        assert engine.batches == (1, 1) and engine.input.shape == (1, 3, 16, 16)
        with pytest.raises(InputError, match=r"takes 1 x 3 x 16 x 16"):
            engine(images(2))


def test_more_images_than_the_range_are_refused(engine_file):
    with load(engine_file("2:2:4")) as engine:
        with pytest.raises(InputError, match="takes 2 to 4 images at a time, not 5"):
            engine(images(5))
        with pytest.raises(InputError, match="not 1"):
            engine.time(images(1))


def test_any_number_of_images_is_cut_into_batches_of_the_range(engine_file):
    path = engine_file("2:2:4")
    array = images(9)  # 4, 4, and one that is filled up
    with load(path) as engine:
        np.testing.assert_allclose(engine.run(array), expected(path, array), rtol=1e-6)


def test_uint8_images_are_taken(engine_file):
    path = engine_file("1:1:2", kind="uint8")
    array = images(2, np.uint8)
    with load(path) as engine:
        np.testing.assert_array_equal(engine(array), expected(path, array))


def test_the_second_inference_of_a_size_is_a_graph(engine_file, fake):
    path = engine_file("1:2:4")
    with load(path) as engine:
        for count in (1, 2, 1, 2):
            array = images(count)
            np.testing.assert_array_equal(engine(array), expected(path, array))
        assert engine.cuda_graph_refused == ""
        assert all(context._graph is not None for context in engine._idle)


def test_without_graphs_the_answers_are_the_same(engine_file):
    path = engine_file()
    array = images(1)
    with load(path) as engine:
        engine.cuda_graph = False
        np.testing.assert_array_equal(engine(array), expected(path, array))
        assert engine._idle[0]._graph is None


def test_a_graph_that_cannot_be_captured_is_told_and_done_without(engine_file, monkeypatch):
    path = engine_file()
    array = images(1)
    monkeypatch.setenv("FAKE_NO_CAPTURE", "1")
    with load(path) as engine:
        with pytest.warns(EdgecnnWarning, match="without a CUDA graph: .*capturing"):
            answer = engine(array)
        np.testing.assert_array_equal(answer, expected(path, array))
        assert "capturing" in engine.cuda_graph_refused
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            engine(array)  # told once


def test_a_library_that_stops_a_capture_leaves_the_stream_usable(engine_file, fake, monkeypatch):
    path = engine_file()
    array = images(1)
    execute = _ExecutionContext.execute_async_v3

    def refuse(self, stream):
        return not fake.fake_capturing(stream) and execute(self, stream)

    monkeypatch.setattr(_ExecutionContext, "execute_async_v3", refuse)
    with load(path) as engine, pytest.warns(EdgecnnWarning, match="without a CUDA graph"):
        np.testing.assert_array_equal(engine(array), expected(path, array))


def test_threads_get_their_own_answers(engine_file):
    path = engine_file("1:2:4")
    arrays = [images(1 + index % 3) for index in range(8)]
    answers = [expected(path, array) for array in arrays]
    with load(path) as engine:

        def work(index):
            return all(np.array_equal(engine(arrays[index]), answers[index]) for _ in range(5))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
        assert engine._open == len(engine._idle) <= tensorrt_engine.CONTEXTS


def test_more_batch_sizes_than_contexts_take_turns(engine_file):
    path = engine_file("1:4:8")
    with load(path) as engine:
        for count in (*range(1, 8), *range(1, 8)):
            array = images(count)
            np.testing.assert_array_equal(engine(array), expected(path, array))
        assert engine._open == tensorrt_engine.CONTEXTS


def test_parts_of_an_inference_are_timed_on_the_gpus_clock(engine_file):
    with load(engine_file()) as engine:
        for graph in (True, False):
            engine.cuda_graph = graph
            times = engine.time(images(1))
            # The fake's clock: 3 ms for a copy to the GPU, 5 ms for the kernel, 1 ms for a copy from it.
            assert (times.copy_in, times.device, times.copy_out) == pytest.approx((3e-3, 5e-3, 1e-3))
            assert times.host > 0


def test_the_harness_measures_it(engine_file):
    with load(engine_file("4:4:8")) as engine:
        (measured,) = profile([engine], seconds=0.1)
    assert measured.batch == 4 and measured.conditions.device == "cuda"


@pytest.mark.parametrize("graph", [True, False])
def test_a_result_tells_the_network_from_the_copies_and_how_it_was_launched(engine_file, graph):
    with load(engine_file()) as engine:
        engine.cuda_graph = graph
        found = profile([engine], seconds=0.1)[0].to_json()
    assert found["transfers_ms"] == pytest.approx({"in": 3.0, "compute": 5.0, "out": 1.0})
    assert found["conditions"]["cuda_graph"] is graph


def test_a_graph_that_was_refused_is_none_in_the_conditions(engine_file, monkeypatch):
    path = engine_file()
    monkeypatch.setenv("FAKE_NO_CAPTURE", "1")
    with load(path) as engine, pytest.warns(EdgecnnWarning):
        (measured,) = profile([engine], seconds=0.1)
    assert measured.conditions.cuda_graph is False


def test_a_batch_beyond_the_range_is_refused_before_anything_is_measured(engine_file):
    with (
        load(engine_file("1:2:4")) as engine,
        pytest.raises(InputError, match="1 to 4 images at a time, not 8"),
    ):
        profile([engine], batch=(1, 2, 8), seconds=100)


def test_batches_of_one_engine_are_measured_in_turns(engine_file):
    with load(engine_file("1:2:8")) as engine:
        measured = profile([engine], batch=(1, 2, 3, 4, 5, 8), seconds=0.1)  # more than there are contexts
    assert [item.batch for item in measured] == [1, 2, 3, 4, 5, 8]
    assert all(item.parts for item in measured)


def test_an_integrated_gpu_needs_no_copies(engine_file, monkeypatch):
    path = engine_file()
    monkeypatch.setenv("FAKE_INTEGRATED", "1")
    array = images(1)
    with load(path) as engine:
        np.testing.assert_array_equal(engine(array), expected(path, array))
        assert engine.time(array).copy_in == 0


def test_rtx_compiles_for_a_shape_before_the_first_answer(engine_file):
    engine_file()
    rtx = engine_file.trt.__name__ == "tensorrt_rtx"
    assert set(engine_file.trt.strategies) == ({"EAGER"} if rtx else set())


def test_memory_that_runs_out_is_cudas_own_error_and_the_engine_lives(engine_file, fake):
    path = engine_file()
    array = images(1)
    with load(path) as engine:
        fake.fake_fail_next_allocation()
        with pytest.raises(EngineError, match="out of memory"):
            engine(array)
        np.testing.assert_array_equal(engine(array), expected(path, array))


def test_a_library_that_fails_is_one_line(engine_file, monkeypatch):
    path = engine_file()
    with load(path) as engine:
        engine(images(1))
        engine.cuda_graph = False
        monkeypatch.setattr(_ExecutionContext, "execute_async_v3", lambda self, stream: False)
        with pytest.raises(EngineError, match="TensorRT fails"):
            engine(images(1))


def test_a_closed_engine_is_refused_and_has_freed_everything(engine_file, fake):
    engine = load(engine_file())
    engine(images(1))
    engine.close()
    assert fake.fake_live() == 0
    with pytest.raises(EngineError, match="closed"):
        engine(images(1))


def test_closing_while_another_thread_infers_frees_everything(engine_file, fake, monkeypatch):
    engine = load(engine_file())
    entered, closed = threading.Event(), threading.Event()
    run = type(engine)._tell

    def slow(self, context):
        entered.set()
        closed.wait(5)
        run(self, context)

    monkeypatch.setattr(type(engine), "_tell", slow)
    thread = threading.Thread(target=engine, args=(images(1),))
    thread.start()
    entered.wait(5)
    engine.close()
    closed.set()
    thread.join()
    assert fake.fake_live() == 0


def test_closing_ends_the_wait_of_every_thread(engine_file, monkeypatch):
    engine = load(engine_file())
    inside = threading.Semaphore(0)
    closed = threading.Event()
    tell = type(engine)._tell

    def slow(self, context):
        inside.release()
        closed.wait(5)
        tell(self, context)

    monkeypatch.setattr(type(engine), "_tell", slow)
    said = []

    def call():
        try:
            engine(images(1))
        except EngineError as error:
            said.append(str(error))

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4 * tensorrt_engine.CONTEXTS)]
    for thread in threads:
        thread.start()
    for _ in range(tensorrt_engine.CONTEXTS):
        inside.acquire(timeout=5)
    engine.close()
    closed.set()
    for thread in threads:
        thread.join(2)
    assert not any(thread.is_alive() for thread in threads)
    assert len(said) == 3 * tensorrt_engine.CONTEXTS and all("is closed" in text for text in said)
