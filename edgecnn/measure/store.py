"""The store of results: one SQLite file that every measurement is appended to.

SQLite keeps it whole while several processes write and when one of them is killed: an append is one
transaction in its write-ahead log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import json
import os
import platform
import sqlite3
import time as clock
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import leftovers
from edgecnn.errors import InvalidValueError, StoreError
from edgecnn.registry import suggest

#: Raised by one when a reader of the old form would misread the new one. It stands in the file's header.
VERSION = 1
#: "ecnn": says in the same header whose file this is.
_APPLICATION = int.from_bytes(b"ecnn", "big")
#: Seconds to wait for another process that writes.
_PATIENCE = 10.0

_SCHEMA = f"""
PRAGMA journal_mode = WAL;
CREATE TABLE results (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,     -- seconds since 1970
    kind TEXT NOT NULL,     -- the command: profile, eval, ...
    path TEXT NOT NULL,     -- absolute
    sha256 TEXT NOT NULL,
    host TEXT NOT NULL,
    result TEXT NOT NULL,   -- JSON, docs/results.schema.json
    samples BLOB            -- milliseconds, float32 little-endian, zlib
);
CREATE INDEX results_time ON results (time);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
"""

#: Keys of a filter that are columns; the others stand in the result.
_COLUMNS = ("kind", "path", "sha256", "host")
FILTER_KEYS = (*_COLUMNS, "architecture", "precision", "backend", "target", "device", "since")


@dataclass(frozen=True)
class Result:
    """One measurement as it stands in the store."""

    #: Seconds since 1970.
    time: float
    #: The command that measured: "profile", "eval".
    kind: str
    #: Absolute, as it was then.
    path: str
    sha256: str
    host: str
    #: What the command prints with --json, and what `provenance.describe` adds.
    values: Mapping[str, Any]
    #: As stored: `samples` unpacks it.
    packed_samples: bytes | None = None

    @property
    def samples(self) -> npt.NDArray[np.float32] | None:
        """Milliseconds of each inference, (N,), or None; raises StoreError if they are damaged."""
        if self.packed_samples is None:
            return None
        try:
            return np.frombuffer(zlib.decompress(self.packed_samples), "<f4")
        except (zlib.error, ValueError) as error:
            raise StoreError(f"the samples of a result of {self.path} are damaged: {error}") from error


def place() -> Path:
    """Return where the store is: `EDGECNN_RESULTS`, else the user's data folder (XDG Base Directory)."""
    chosen = os.environ.get("EDGECNN_RESULTS")
    if chosen:
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "edgecnn" / "results.sqlite"
    except RuntimeError as error:
        raise StoreError(
            "there is no home folder to keep results in", hint="set EDGECNN_RESULTS to a file"
        ) from error


def append(
    kind: str,
    values: Mapping[str, Any],
    samples: npt.NDArray[np.floating] | None = None,
    *,
    time: float | None = None,
    store: Path | None = None,
) -> Path:
    """Add a result with its `path` and `sha256`, and return the store's path.

    `samples` are milliseconds, (N,); `time` is in seconds since 1970, now if not given. Raises StoreError if
    the store is damaged, of a newer version, or cannot be written.
    """
    result = Result(
        clock.time() if time is None else time,
        kind,
        os.path.abspath(values["path"]),
        values["sha256"],
        platform.node(),
        values,
        None if samples is None else zlib.compress(samples.astype("<f4").tobytes()),
    )
    return _insert([result], store or place())


def merge(other: Path, path_here: Callable[[str], str], *, store: Path | None = None) -> Path:
    """Add what another machine's store holds, as measured now, and return this one's path.

    That machine's clock may be wrong, as a board's is that has no battery for it. `path_here` turns a file's
    absolute path there into its path here. Raises StoreError.
    """
    now = clock.time()
    found = query(store=other)
    return _insert(
        [dataclasses.replace(item, time=now, path=os.path.abspath(path_here(item.path))) for item in found],
        store or place(),
    )


def _insert(results: Sequence[Result], store: Path) -> Path:
    rows = [
        (
            *(item.time, item.kind, item.path, item.sha256, item.host),
            json.dumps(item.values, allow_nan=False, separators=(",", ":")),
            item.packed_samples,
        )
        for item in results
    ]
    with _translated(store):
        leftovers.sweep_folders(store.parent)
        if not store.exists():
            _create(store)
        with contextlib.closing(_connect(store)) as connection:
            _check(connection, store)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO results (time, kind, path, sha256, host, result, samples)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.execute("COMMIT")
    return store


def query(filters: Sequence[str] = (), *, store: Path | None = None) -> list[Result]:
    """Return the results that meet all `filters`, oldest first.

    A filter is `key=value` with a key of `FILTER_KEYS`. Values may have wildcards (`*`, `?`, `[ab]`); `path`
    is met by the file's name too, `sha256` by its beginning, and `since=2026-01-31` by what was measured on
    that day or later. Raises InvalidValueError for another filter, StoreError if there is no store or it
    cannot be read.
    """
    wanted = [_parse(text) for text in filters]
    since = max((float(value) for key, value in wanted if key == "since"), default=0.0)
    store = store or place()
    if not store.is_file():
        raise StoreError(f"there are no results yet in {store}", hint="edgecnn profile m.onnx")
    found = []
    with _translated(store), contextlib.closing(_connect(store)) as connection:
        _check(connection, store)
        rows = connection.execute(
            "SELECT time, kind, path, sha256, host, result, samples FROM results WHERE time >= ?"
            " ORDER BY time, id",
            (since,),
        )
        for time, kind, path, sha256, host, text, samples in rows:
            result = Result(time, kind, path, sha256, host, json.loads(text), samples)
            if all(_meets(result, key, value) for key, value in wanted):
                found.append(result)
    return found


def _parse(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or key not in FILTER_KEYS:
        raise InvalidValueError(f"{text!r} is no filter", hint=f"KEY=VALUE; {suggest(key, [*FILTER_KEYS])}")
    if key != "since":
        return key, value
    try:
        return key, str(datetime.fromisoformat(value).timestamp())
    except ValueError as error:
        raise InvalidValueError(f"{value!r} is no date", hint="since=2026-01-31") from error


def _meets(result: Result, key: str, value: str) -> bool:
    if key == "since":  # the store has seen to it
        return True
    has = getattr(result, key) if key in _COLUMNS else result.values.get(key)
    if has is None:
        return False
    if key == "path":
        return fnmatch.fnmatchcase(has, value) or fnmatch.fnmatchcase(Path(has).name, value)
    if key == "sha256":
        value += "*"
    return fnmatch.fnmatchcase(str(has), value)


def _connect(store: Path) -> sqlite3.Connection:
    """Open a file that exists; without a transaction of Python's own, so that each statement is one."""
    uri = f"{store.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)


def _check(connection: sqlite3.Connection, store: Path) -> None:
    """Raise StoreError for a database of another program, or of a newer version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"{store} is no store of results", hint="set EDGECNN_RESULTS to another file")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"the store of results {store} has version {version}; this edgecnn reads up to {VERSION}",
            hint="pip install --upgrade edgecnn, or set EDGECNN_RESULTS to another file",
        )


def _create(store: Path) -> None:
    """Put an empty store in its place, unless another process is first.

    It is made elsewhere and linked, because SQLite cannot switch to its write-ahead log while others look on.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    with leftovers.TemporaryFolder(store.parent) as folder:
        fresh = Path(folder) / store.name
        with contextlib.closing(sqlite3.connect(fresh)) as connection:
            connection.executescript(_SCHEMA)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, store)


@contextlib.contextmanager
def _translated(store: Path) -> Iterator[None]:
    elsewhere = "set EDGECNN_RESULTS to another file"
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"the store of results {store} cannot be used: {error}", hint=elsewhere) from error
    except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
        raise StoreError(
            f"the store of results {store} is damaged: {error}", hint="move it away, and a new one is begun"
        ) from error
    except OSError as error:
        raise StoreError(
            f"the store of results {store} cannot be used: {error.strerror}", hint=elsewhere
        ) from error
