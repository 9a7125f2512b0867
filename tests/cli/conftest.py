import pytest


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch):
    """What is printed matters here, not whether latencies are stable: beside other tests they never are."""
    monkeypatch.setattr("edgecnn.measure.latency.profile_engines._WARM_LIMIT", 0.05)
    monkeypatch.setattr("edgecnn.measure.latency.profile_engines._WARM_SECONDS", 0.02)
