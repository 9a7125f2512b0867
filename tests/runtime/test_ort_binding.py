"""Buffers that stay in place: the same answers, and none that a later call overwrites (CPU memory)."""

import dataclasses
import threading

import numpy as np
import pytest
from program import SMALL

from edgecnn.runtime import load
from edgecnn.runtime.ort_binding import _MOST_GRAPHS, _MOST_SHAPES, BoundSession
from edgecnn.runtime.ort_engine import open_session
from edgecnn.runtime.times import Times


@pytest.fixture(scope="module")
def path(exported):
    return exported(*SMALL)


@pytest.fixture(scope="module")
def engine(path):
    with load(path, device="cpu", threads=1) as opened:
        yield opened


@pytest.fixture
def bound(path, engine):
    session = open_session(str(path), threads=1)
    return BoundSession(session, "cpu", engine.inputs, engine.outputs)


@pytest.fixture(scope="module")
def images(engine, coffee):
    one = engine.prepare([coffee])
    return np.concatenate([one, one[:, :, ::-1], one[:, :, :, ::-1]])


def test_every_shape_gets_its_answers(engine, bound, images):
    for _ in range(2):
        for count in (1, 3, 2):
            part = np.ascontiguousarray(images[:count])
            assert np.allclose(bound([part])[0], engine(part), rtol=1e-4, atol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next_call(engine, bound, images):
    first = bound([np.ascontiguousarray(images[:1])])[0]
    before = first.copy()
    bound([np.ascontiguousarray(images[1:2])])
    assert np.array_equal(first, before)


def test_more_shapes_than_are_kept_are_still_right(engine, bound, images):
    for count in range(1, _MOST_SHAPES + 3):
        part = np.repeat(images[:1], count, axis=0)
        assert np.allclose(bound([part])[0], engine(part), rtol=1e-4, atol=1e-5)
    assert len(bound._buffers) <= _MOST_SHAPES


class Opened:
    """A session, and the shapes that it was run with."""

    def __init__(self, path, graph: bool) -> None:
        self.graph, self.shapes = graph, set()
        self._session = open_session(str(path), threads=1)

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding, options) -> None:
        self.shapes.add(tuple(binding.get_outputs()[0].shape()))
        self._session.run_with_iobinding(binding, options)


def test_a_captured_session_runs_one_shape_alone(path, engine, images):
    """On a GPU another shape frees what the captured graph reads: wrong answers, and then a crash."""
    sessions = [Opened(path, graph=True)]

    def another(graph: bool) -> Opened:
        sessions.append(Opened(path, graph))
        return sessions[-1]

    bound = BoundSession(sessions[0], "cpu", engine.inputs, engine.outputs, another)
    counts = range(1, _MOST_GRAPHS + 4)
    for count in [*counts, *counts]:
        part = np.repeat(images[:1], count, axis=0)
        assert np.allclose(bound([part])[0], engine(part), rtol=1e-4, atol=1e-5)
    assert [session.graph for session in sessions] == [True] * _MOST_GRAPHS + [False]
    assert [len(session.shapes) for session in sessions] == [1] * _MOST_GRAPHS + [3]


class Clock:
    """A clock that moves by so much with each step of an inference."""

    def __init__(self, session, bound, image) -> None:
        self.now, self._session, self._bound = 0.0, session, bound
        bound([image])
        (shape,) = bound._buffers
        self._buffers = bound._buffers[shape]
        changed = {"session": self, "sources": [self], "results": [self]}
        bound._buffers[shape] = dataclasses.replace(self._buffers, **changed)

    def perf_counter(self) -> float:
        return self.now

    def update_inplace(self, array) -> None:
        self.now += 2
        self._buffers.sources[0].update_inplace(array)

    def run_with_iobinding(self, *arguments) -> None:
        self.now += 7
        self._session.run_with_iobinding(*arguments)

    def numpy(self):
        self.now += 1
        return self._buffers.results[0].numpy()


def test_each_part_of_an_inference_has_its_time(engine, bound, images, monkeypatch):
    image = np.ascontiguousarray(images[:1])
    clock = Clock(bound._plain, bound, image)
    monkeypatch.setattr("edgecnn.runtime.ort_binding.time", clock)
    assert bound.time([image]) == Times(host=10, copy_in=2, device=7, copy_out=1)


def test_on_a_cpu_nothing_is_copied_and_no_graph_is_launched(engine, images):
    assert engine.time(np.ascontiguousarray(images[:1])) is None
    assert engine.launches_graph is None


def test_on_a_gpu_the_parts_are_those_of_the_bound_session(path, engine, bound, images):
    with load(path, device="cpu", threads=1) as opened:
        opened._bound = bound
        opened._binds = opened.cuda_graph = True
        times = opened.time(np.ascontiguousarray(images[:1]))
        assert 0 < times.device < times.host and opened.launches_graph
    assert opened.launches_graph, "a closed engine says how it ran"


def test_threads_do_not_mix_their_images(engine, bound, images):
    expected = [engine(np.ascontiguousarray(images[row : row + 1])) for row in range(3)]
    wrong = []

    def work(row: int) -> None:
        for _ in range(20):
            answer = bound([np.ascontiguousarray(images[row : row + 1])])[0]
            if not np.allclose(answer, expected[row], rtol=1e-4, atol=1e-5):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_on_a_gpu_pairs_stay_as_they_stand_in_the_file(path, monkeypatch):
    """Else ONNX Runtime makes int32 biases, which a GPU has no kernel for, and refuses every int8 file."""
    import onnxruntime

    asked = {}

    def session(model, options, providers):
        asked[providers[0][0]] = options.get_session_config_entry("session.disable_quant_qdq")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    open_session(str(path), device="cuda")
    assert asked == {"CUDAExecutionProvider": "1"}
