"""`--batch 8`, or `--batch 1,2,4,8` for several in turns."""

from __future__ import annotations

from typing import Any

import click


class Batches(click.ParamType):
    """One batch or several, as a tuple of numbers."""

    name = "N[,N...]"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, ...]:
        """Return the batches of "1,2,4"; raises click.BadParameter for what is none, or is there twice."""
        try:
            found = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of batches: 8, or 1,2,4,8", parameter, context)
        for batch in found:
            if batch < 1:
                self.fail(f"a batch has one image at least, not {batch}", parameter, context)
            if found.count(batch) > 1:
                self.fail(f"batch {batch} is there twice", parameter, context)
        return found
