"""Stream real images through a float model and observe its tensors. Memory does not grow with the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.errors import DataError
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver
from edgecnn.quantize.ranges.observers import Observer
from edgecnn.runtime.ort_engine import open_session, run_session
from edgecnn.runtime.samples import feeds


class Observed(dict[str, Observer]):
    """An observer per tensor, and in `channels` those that look at each channel of a tensor."""

    def __init__(self, tensors: Iterable[str] = (), channels: Iterable[str] = ()) -> None:
        super().__init__((name, Observer(name)) for name in tensors)
        self.channels = {name: ChannelObserver(name) for name in channels}


def observe(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Iterable[npt.NDArray[np.float32]],
    *,
    channels: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> Observed:
    """Return an observer per tensor after the model has seen all batches, each samples (`runtime.samples`).

    Tensors named in `channels`, which need not be among the others, are observed channel by channel as well.
    `progress` is called after each batch with the number of images done. All the tensors of one batch
    are in memory at once, and no more. Raises DataError if there are no batches, or, naming the
    tensor, if one holds values that are not finite.
    """
    observed = Observed(tensors, channels)
    names = list(dict.fromkeys([*tensors, *channels]))
    specs = input_specs(model)
    given = [spec.name for spec in specs if spec.name in names]
    inner = [name for name in names if name not in given]
    session = open_session(_with_outputs(model, inner))
    done = 0
    for batch in batches:
        inputs = feeds(batch, specs)
        for name in given:
            _take_in(observed, name, inputs[name])
        values = run_session(session, inner[::-1], inputs) if inner else []
        # In the graph's order, so that an error names the first tensor that went wrong. Each is let go once
        # it was observed, so that none is left when the next batch is computed.
        for name in inner:
            _take_in(observed, name, values.pop())
        done += len(batch)
        if progress:
            progress(done)
    if not done:
        raise DataError("there are no calibration images", hint="give `calib` a folder of images")
    return observed


def _take_in(observed: Observed, name: str, value: npt.NDArray[np.float32]) -> None:
    if name in observed:
        observed[name].update(value)
    if name in observed.channels:
        observed.channels[name].update(value)


def _with_outputs(model: onnx.ModelProto, tensors: list[str]) -> bytes:
    probe = copy_of(model)
    outputs = {value.name for value in probe.graph.output}
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in tensors if name not in outputs
    )
    return probe.SerializeToString()
