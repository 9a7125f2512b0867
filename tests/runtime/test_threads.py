"""Eight threads on one engine: the answers of one thread, and memory that stays."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgecnn.compile import CompileRequest, compile_file
from edgecnn.runtime import load

SECONDS = 60


def resident() -> float:
    """Return this process's memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_eight_threads_for_a_minute(exported, tmp_path, coffee, backend):
    source = exported("mobilenet", "--alpha", "0.5", "--int8", "--target", "cpu")
    suffix = {"onnxruntime": ".ort", "openvino": ".xml"}[backend]
    path = compile_file(CompileRequest(source, tmp_path / f"m{suffix}", backend)).path
    with load(path, threads=1) as engine:
        one = engine.prepare([coffee])
        images = [np.ascontiguousarray(np.roll(one, 20 * row, axis=3)) for row in range(8)]
        expected = [engine(image) for image in images]
        assert len({row.tobytes() for row in expected}) == 8
        wrong, runs = [], [0] * 8
        end = time.monotonic() + SECONDS

        def work(row: int) -> None:
            while time.monotonic() < end:
                if not np.array_equal(engine(images[row]), expected[row]):
                    wrong.append(row)
                runs[row] += 1

        threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 3)
        early = resident()
        for thread in threads:
            thread.join()
        late = resident()
    assert not wrong and min(runs) > 20
    assert late - early < 5, f"{early:.0f} MiB became {late:.0f}"
