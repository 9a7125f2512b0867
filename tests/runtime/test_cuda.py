"""The driver binding, against a library that is compiled here and checks what it is told."""

import ctypes

import numpy as np
import pytest
from fake_gpu import driver

from edgecnn.errors import EngineError
from edgecnn.runtime import cuda
from edgecnn.runtime.cuda import Buffer, Device, Event, Stream

FLOAT = np.dtype(np.float32)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    library = driver(tmp_path, monkeypatch)
    yield library
    assert library.fake_live() == 0, "something was not freed"
    assert library.fake_depth() == 0, "a context was left current"


def test_a_gpu_says_what_it_is(fake):
    device = Device()
    assert (device.name, device.compute_capability, device.integrated) == ("Fake GPU", "8.9", False)
    assert device.describe()["CUDA"] == "13.1"


def test_asking_what_a_gpu_is_makes_no_context_on_it(fake):
    Device()
    assert fake.fake_retained() == 0


def test_no_driver_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda, "LIBRARY", str(tmp_path / "libcuda.so.1"))
    with pytest.raises(EngineError, match=r"no NVIDIA GPU, or no driver.*libcuda\.so\.1"):
        Device()


def test_a_library_that_lacks_functions_is_no_driver(monkeypatch):
    monkeypatch.setattr(cuda, "LIBRARY", "libc.so.6")
    with pytest.raises(EngineError, match="no driver"):
        Device()


def test_a_driver_without_a_gpu_gives_its_own_text(tmp_path, monkeypatch):
    driver(tmp_path, monkeypatch, GPUS=0)
    with pytest.raises(EngineError, match=r"no CUDA-capable device is detected \(CUDA error 100\)"):
        Device()


def test_an_error_without_a_text_keeps_its_number(fake):
    with pytest.raises(EngineError, match=r"cuMemFreeHost: unknown error \(CUDA error 1\)"):
        cuda.call("cuMemFreeHost", ctypes.c_void_p(64))


def test_values_come_back_from_the_gpu_once_it_is_waited_for(fake):
    with Device().current():
        stream, source, target = Stream(), Buffer(4, FLOAT, shared=False), Buffer(4, FLOAT, shared=False)
        source.array[:] = (1, 2, 3, 4)
        source.to_device(4, stream)
        # What a kernel would do, from one device allocation to the other.
        copy = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(
            lambda _: ctypes.memmove(target.address, source.address, 16) and None
        )
        fake.fake_launch(stream.handle, target.address, copy, None)
        target.array[:] = 0
        target.to_host(2, stream)
        assert not target.array.any()
        stream.synchronize()
        assert target.array.tolist() == [1, 2, 0, 0]
        for part in (stream, source, target):
            part.close()


def test_an_integrated_gpu_reads_host_memory_in_place(tmp_path, monkeypatch):
    library = driver(tmp_path, monkeypatch, INTEGRATED=1)
    device = Device()
    assert device.integrated
    with device.current():
        buffer = Buffer(4, FLOAT, shared=True)
        assert buffer.address == buffer.array.ctypes.data
        assert library.fake_live() == 1
        buffer.close()
    assert library.fake_live() == 0


def test_memory_that_is_not_there_leaves_nothing_behind(fake):
    with Device().current():
        fake.fake_fail_next_allocation()
        with pytest.raises(EngineError, match=r"out of memory \(CUDA error 2\)"):
            Buffer(4, FLOAT, shared=False)


def test_without_a_current_context_nothing_is_allocated(fake):
    with pytest.raises(EngineError, match="CUDA error 201"):
        Buffer(4, FLOAT, shared=False)


def test_a_graph_does_again_what_was_captured(fake):
    with Device().current():
        stream, source, target = Stream(), Buffer(1, FLOAT, shared=False), Buffer(1, FLOAT, shared=False)
        stream.begin_capture()
        source.to_device(1, stream)
        with pytest.raises(EngineError, match="capturing"):
            stream.synchronize()
        graph = stream.end_capture()
        for value in (3.0, 5.0):
            source.array[:] = value
            graph.launch(stream)
            stream.synchronize()
            assert ctypes.cast(source.address, ctypes.POINTER(ctypes.c_float))[0] == value
        for part in (graph, stream, source, target):
            part.close()


def test_events_are_told_apart_on_the_gpus_clock(fake):
    with Device().current():
        stream, buffer = Stream(), Buffer(1, FLOAT, shared=False)
        first, second = Event(), Event()
        first.record(stream)
        buffer.to_device(1, stream)
        second.record(stream)
        with pytest.raises(EngineError, match="CUDA error 600"):
            second.seconds_since(first)
        stream.synchronize()
        assert second.seconds_since(first) == pytest.approx(3e-3)  # what a copy takes on the fake's clock
        for part in (first, second, stream, buffer):
            part.close()
