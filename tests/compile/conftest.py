import pytest

from edgecnn.runtime import cuda


@pytest.fixture
def rtx(monkeypatch):
    """The real library, on a machine without a GPU."""
    monkeypatch.setattr(cuda, "LIBRARY", "libcuda_absent.so.1")
    return pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
