"""Which shapes a TensorRT engine takes: the file's where these are fixed, else what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecnn.compile.compile_request import BatchRange, CompileRequest, SizeRange
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.engine_inputs import image_layout
from edgecnn.runtime.tensorrt_library import Library, sizes

if TYPE_CHECKING:
    import tensorrt

#: Least, best and greatest shape of an input.
_Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def set_shapes(
    library: Library,
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    config: tensorrt.IBuilderConfig,
    request: CompileRequest,
) -> list[int] | None:
    """Set the shapes of all inputs; return the batch, [least, best, greatest], None where the file fixes it.

    A free batch is 1 unless the request says more, and free heights and widths are what it says. What is
    still a range becomes an optimization profile. Raises InvalidValueError for a batch or a size that the
    file does not take, and for one that is missing.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    asked, free = request.batch, [item for item in inputs if -1 in sizes(item.shape)[:1]]
    if asked is not None and not free:
        first = sizes(inputs[0].shape)[0]
        if (asked.least, asked.most) != (first, first):
            raise InvalidValueError(
                f"the file takes {first} images at a time, not {asked.least} to {asked.most}",
                hint="export it without `batch` for any number",
            )
    batch = asked or BatchRange(1, 1, 1)
    ranges = {item.name: _range(item.name, sizes(item.shape), batch, request.sizes) for item in inputs}

    def dims(shape: tuple[int, ...]) -> tensorrt.Dims:
        made: tensorrt.Dims = library.trt.Dims(shape)
        return made

    profile = None
    for item in inputs:
        least, best, most = ranges[item.name]
        if -1 not in sizes(item.shape):
            continue
        if least == most:
            # A constant shape leaves the library more to decide beforehand, and a DLA takes no other.
            item.shape = dims(most)
            continue
        profile = profile or builder.create_optimization_profile()
        profile.set_shape(item.name, dims(least), dims(best), dims(most))
    if profile is not None:
        config.add_optimization_profile(profile)
    return [batch.least, batch.best, batch.most] if free else None


def _range(name: str, shape: tuple[int, ...], batch: BatchRange, wanted: SizeRange | None) -> _Range:
    """Return the least, best and greatest shape of an input; -1 stands for what is free."""
    first, inner = shape[:1], shape[1:]
    numbers = (batch.least, batch.best, batch.most)
    batches = [(number,) if first == (-1,) else first for number in numbers]
    if -1 not in inner:
        return tuple((*number, *inner) for number in batches)  # type: ignore[return-value]
    axes = {"NCHW": (1, 2), "NHWC": (0, 1)}[image_layout(shape)] if len(shape) == 4 else ()
    if any(size < 0 and axis not in axes for axis, size in enumerate(inner)):
        raise InvalidValueError(
            f"the input {name!r} takes {' x '.join('any' if size < 0 else str(size) for size in shape)}, and"
            " nothing says how large it is",
            hint="export the network with all but its batch, height and width fixed",
        )
    if wanted is None:
        raise InvalidValueError(
            f"the network takes images of any size at {name!r}",
            hint="say which: `sizes` 224, 48x320 (height x width), or MIN:OPT:MAX of these",
        )
    found = []
    for number, pixels in zip(batches, (wanted.least, wanted.best, wanted.most), strict=True):
        sides = dict(zip(axes, pixels, strict=True))
        own = [sides.get(axis, size) if size < 0 else size for axis, size in enumerate(inner)]
        found.append((*number, *own))
    return found[0], found[1], found[2]
