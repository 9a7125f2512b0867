"""What `edgecnn.runtime.cuda` does with a real driver: bytes that come back, bandwidth, graphs, events.

A part of benchmarks/gpu.py.
"""

from __future__ import annotations

import time

import numpy as np

from edgecnn.runtime.cuda import Buffer, Device, Event, Stream

#: Bytes of one copy. Large enough that latency does not count.
SIZE = 256 << 20
COPIES = 10


def checks() -> list[str]:
    """Return a line for each thing that was tried; raises AssertionError where the driver disagrees."""
    device = Device()
    with device.current():
        stream = Stream()
        source = Buffer(SIZE, np.dtype(np.uint8), shared=False)
        lines = [round_trip(stream, source), graph_replay(stream, source)]
        lines += [bandwidth(stream, source, way) for way in ("to_device", "to_host")]
        source.close()
        stream.close()
    return lines


def round_trip(stream: Stream, buffer: Buffer) -> str:
    """Random bytes go to the GPU, the host's side is cleared, and they come back."""
    sent = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    buffer.array[:] = sent
    buffer.to_device(SIZE, stream)
    stream.synchronize()
    buffer.array[:] = 0
    buffer.to_host(SIZE, stream)
    stream.synchronize()
    assert np.array_equal(buffer.array, sent), "other bytes came back"
    return f"{SIZE >> 20} MiB of random bytes went to the GPU and came back the same"


def graph_replay(stream: Stream, buffer: Buffer) -> str:
    """A captured copy carries what is in the host's memory when the graph is launched."""
    stream.begin_capture()
    buffer.to_device(SIZE, stream)
    graph = stream.end_capture()
    for value in (3, 5):
        buffer.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        buffer.array[:] = 0
        buffer.to_host(SIZE, stream)
        stream.synchronize()
        assert (buffer.array == value).all(), f"the graph carried something else than {value}"
    graph.close()
    return "a captured copy, launched as a graph, carried the bytes of each launch"


def bandwidth(stream: Stream, buffer: Buffer, way: str) -> str:
    """Copies are timed by CUDA events and by the processor's clock, which must agree."""
    before, after = Event(), Event()
    copy = getattr(buffer, way)
    copy(SIZE, stream)
    stream.synchronize()
    start = time.perf_counter()
    before.record(stream)
    for _ in range(COPIES):
        copy(SIZE, stream)
    after.record(stream)
    stream.synchronize()
    host, gpu = time.perf_counter() - start, after.seconds_since(before)
    before.close()
    after.close()
    assert abs(gpu / host - 1) < 0.05, f"events say {gpu} s, the processor's clock {host} s"
    rate = COPIES * SIZE / gpu / 1e9
    return f"{way}: {rate:.1f} GB/s by events; the processor's clock shows {100 * (host / gpu - 1):+.2f} %"
