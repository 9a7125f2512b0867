"""What a figure says: its texts, and whether they run into each other or over its edge."""

from __future__ import annotations

import itertools

#: Pixels that boxes of texts may share: the boxes are a little larger than the letters.
_SLACK = 1.5


def texts(figure):
    """Return every text that is seen, after a layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure).draw()
    unseen = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _beyond(axis)}
    return [
        item
        for item in figure.findobj(Text)
        if item.get_visible() and item.get_text().strip() and item not in unseen
    ]


def _beyond(axis):
    """Return the labels of ticks beyond the ends of an axis, which matplotlib makes and does not draw."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if not low <= tick.get_loc() <= high]


def words(figure):
    return "\n".join(item.get_text() for item in texts(figure))


def collisions(figure):
    """Return what overlaps with another text, or leaves the figure."""
    seen = [item for item in texts(figure) if item.get_rotation() in (0, 90)]  # a box says nothing of slopes
    boxes = [item.get_window_extent() for item in seen]
    whole = figure.bbox
    outside = [
        item.get_text()
        for item, box in zip(seen, boxes, strict=True)
        if box.x0 < whole.x0 - 1 or box.x1 > whole.x1 + 1 or box.y0 < whole.y0 - 1 or box.y1 > whole.y1 + 1
    ]
    together = [
        (one.get_text(), other.get_text())
        for (one, a), (other, b) in itertools.combinations(zip(seen, boxes, strict=True), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > _SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > _SLACK
    ]
    return outside, together
