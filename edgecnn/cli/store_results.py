"""Results of the commands that measure go into the store, unless the user says no."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.terminal import say
from edgecnn.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgecnn.runtime.engine import Engine

store_option = click.option("--no-store", is_flag=True, help="Leave the store of results as it is.")


def keep(
    kind: str, engine: Engine, values: dict[str, Any], samples: npt.NDArray[np.floating] | None = None
) -> None:
    """Append what was measured of an engine, without lists by class and image; `samples` are milliseconds."""
    from edgecnn.measure import store
    from edgecnn.measure.provenance import describe, without_lists

    with noting():
        store.append(kind, {**describe(engine), **without_lists(values)}, samples)


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Say in a note why the store failed: a measurement is worth more than its place in it."""
    try:
        yield
    except StoreError as error:
        say(f"note: not stored: {error} ({error.hint}, or --no-store)", fg="yellow", err=True)
