"""Where a detector's outputs look: anchors and grid points, from a decoder's settings and the input's size.

All are in the order of the outputs' rows: level by level, in it row by row, in it the anchors of a cell. A
level's grid is as large as the input divided by its stride, rounded up, unless `grids` says otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.tasks.decoder_settings import Settings, lists, numbers, wrong

Array = npt.NDArray[np.float32]
#: More cells than any detector has: a manifest that says so is damaged.
_MOST_CELLS = 4 << 20


def grids(settings: Settings, size: Size) -> list[Size]:
    """Return the size of each level's grid, from `strides` or as `grids` states it; raises ArtifactError."""
    if settings.get("grids") is not None:
        found = [_grid(sides) for sides in lists(settings, "grids")]
    else:
        found = [_strided(size, stride) for stride in numbers(settings, "strides")]
    if not 0 < sum(grid.pixels for grid in found) <= _MOST_CELLS:
        raise wrong("grids", settings.get("grids", settings.get("strides")), "the size of each level's grid")
    return found


def ssd(settings: Settings, size: Size) -> Array:
    """Return SSD's default boxes, (anchors, 4) corners in pixels, as torchvision tiles them.

    `ratios`: for each level those of width to height besides 1; `scales`: one for each level and one more,
    as shares of the input's sides; `steps`: how far cells lie apart, in pixels, where it is not the input
    over the grid; `clip`: whether boxes are at most as large as the input, as they are where it is not said.
    """
    levels = grids(settings, size)
    ratios, scales = lists(settings, "ratios"), numbers(settings, "scales")
    steps = numbers(settings, "steps") if settings.get("steps") is not None else None
    if len(ratios) != len(levels) or len(scales) != len(levels) + 1 or len(steps or levels) != len(levels):
        raise ArtifactError(
            f"the decoder has {len(levels)} grids, {len(ratios)} lists of ratios, {len(scales)} scales",
            hint="ratios, and steps, are one for each grid, scales one more; docs/tasks.md",
        )
    rows = []
    for number, grid in enumerate(levels):
        sides = _default_sides(scales[number], scales[number + 1], ratios[number])
        if settings.get("clip") is not False:
            sides = np.clip(sides, 0, 1)
        step = None if steps is None else steps[number]
        across, down = (grid.width, grid.height) if step is None else (size.width / step, size.height / step)
        centres = _floats(_cells(grid)) + np.float32(0.5)
        centres = centres / _floats([across, down])
        middle, half = centres[:, None], np.float32(0.5) * sides[None]
        rows.append(np.concatenate([middle - half, middle + half], axis=2).reshape(-1, 4))
    return _floats(np.concatenate(rows) * _floats([size.width, size.height, size.width, size.height]))


def retinanet(settings: Settings, size: Size) -> Array:
    """Return anchors, (anchors, 4) corners in pixels, as torchvision's AnchorGenerator makes them.

    `sizes`: for each level the sides of square anchors, in pixels; `ratios`: of height to width. A cell has
    all sizes of the first ratio, then those of the second.
    """
    levels, sizes = grids(settings, size), lists(settings, "sizes")
    ratios = np.sqrt(_floats(numbers(settings, "ratios", [1.0])))
    if len(sizes) != len(levels):
        raise ArtifactError(
            f"the decoder has {len(levels)} grids and {len(sizes)} lists of sizes",
            hint="sizes are a list for each grid; docs/tasks.md",
        )
    rows = []
    for grid, sides in zip(levels, sizes, strict=True):
        widths = ((1 / ratios)[:, None] * _floats(sides)[None]).reshape(-1)
        heights = (ratios[:, None] * _floats(sides)[None]).reshape(-1)
        around = np.round(np.stack([-widths, -heights, widths, heights], axis=1) / 2)
        corners = _cells(grid) * _distance(grid, size)
        rows.append((np.tile(corners, 2)[:, None] + around[None]).reshape(-1, 4))
    return _floats(np.concatenate(rows))


def fcos(settings: Settings, size: Size) -> Array:
    """Return FCOS' squares, (points, 4) corners in pixels: a point is their centre, and their side its unit.

    `sizes`: the side of each level's square, in pixels.
    """
    sizes = numbers(settings, "sizes", settings.get("strides"))
    return retinanet({**settings, "sizes": [[side] for side in sizes], "ratios": [1.0]}, size)


def yolox(settings: Settings, size: Size) -> Array:
    """Return YOLOX' points, (points, 3): column and row of the cell, and the stride, in pixels."""
    strides, levels = numbers(settings, "strides"), grids(settings, size)
    if len(strides) != len(levels):
        raise wrong("strides", settings.get("strides"), "one for each grid")
    cells = [
        np.concatenate([_cells(grid), np.full((grid.pixels, 1), stride)], axis=1)
        for grid, stride in zip(levels, strides, strict=True)
    ]
    return _floats(np.concatenate(cells))


def _strided(size: Size, stride: float) -> Size:
    if stride < 1:
        raise wrong("strides", stride, "a number of pixels for each level")
    return Size(math.ceil(size.height / stride), math.ceil(size.width / stride))


def _grid(sides: list[float]) -> Size:
    if len(sides) != 2 or any(side < 1 or side != int(side) for side in sides):
        raise wrong("grids", sides, "height and width of each level's grid")
    return Size(int(sides[0]), int(sides[1]))


def _cells(grid: Size) -> npt.NDArray[np.int64]:
    """Return the column and the row of each cell, (cells, 2), row by row."""
    rows, columns = np.mgrid[: grid.height, : grid.width]
    return np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1)


def _distance(grid: Size, size: Size) -> npt.NDArray[np.int64]:
    """Return how far cells lie apart across and down, in whole pixels."""
    return np.array([size.width // grid.width, size.height // grid.height])


def _default_sides(scale: float, next_scale: float, ratios: list[float]) -> Array:
    """Return widths and heights of a cell's default boxes, (boxes, 2), as shares of the input's."""
    between = math.sqrt(scale * next_scale)
    sides = [(scale, scale), (between, between)]
    for ratio in ratios:
        wide, narrow = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        sides += [(wide, narrow), (narrow, wide)]
    return _floats(sides)


def _floats(values: npt.ArrayLike) -> Array:
    return np.asarray(values, np.float32)
