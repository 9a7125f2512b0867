"""Whether a stored result is one that a page can show: anybody may have written the store."""

from __future__ import annotations

from edgecnn.errors import StoreError
from edgecnn.measure.store import Result
from edgecnn.report.comparisons import comparisons
from edgecnn.report.figures import settings
from edgecnn.report.rows import rows

_TEXTS = ("architecture", "weights", "precision", "target", "backend", "device", "verdict", "data")
_NUMBERS = ("alpha", "params", "macs", "bytes", "top1", "top5", "n", "throughput_ips")
_LISTS = ("notes", "lineage", "layers", "unlike", "top1_interval", "p50_interval_ms")
_OBJECTS = ("conditions", "parity", "latency_ms", "roofline", "baseline", "ratio")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXTS, (str,)),
    **dict.fromkeys(_NUMBERS, (int, float)),
    "resolution": (int, str),
    **dict.fromkeys(_LISTS, (list,)),
    **dict.fromkeys(_OBJECTS, (dict,)),
}


def damage(result: Result) -> str | None:
    """Return what is wrong with a result, in a sentence; None if a page can show it."""
    for key, kinds in _KINDS.items():
        value = result.values.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            return f"a result of {result.path} is damaged: {key} is {repr(value)[:60]}"
    try:
        settings(result)
        rows([result])
        comparisons([result])
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        OSError,
        StoreError,
    ) as error:
        return f"a result of {result.path} is damaged: {type(error).__name__}: {str(error)[:100]}"
    return None
