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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files, leftovers, strict_json
from edgecnn.errors import InvalidValueError, OutputError, StoreError
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

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
#: Results of one command, and characters of one.
_FOREIGN_ROWS, _FOREIGN_TEXT = 1000, 4 << 20
#: Seconds since 1970 until a year that a calendar still has, and values that samples may be.
_LATEST, _SAMPLES = 2.5e11, 1 << 28

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
            unpacking = zlib.decompressobj()
            found = np.frombuffer(unpacking.decompress(self.packed_samples, 4 * _SAMPLES), "<f4")
            if not unpacking.eof or not np.isfinite(found).all():
                raise ValueError("they are too many, too few or no numbers")
            return found
        except (zlib.error, ValueError) as error:
            raise StoreError(f"the samples of a result of {self.path} are damaged: {error}") from error


def place() -> Path:
    """Return where the store is: `EDGECNN_RESULTS`, else the user's data folder (XDG Base Directory)."""
    chosen = os.environ.get("EDGECNN_RESULTS")
    if chosen:
        return Path(chosen)
    try:
        return files.home("XDG_DATA_HOME", ".local/share") / "edgecnn" / "results.sqlite"
    except OutputError as error:
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


def received(other: Path, kind: str) -> list[Result]:
    """Return what a command of that `kind` put into another machine's store, as measured now.

    That machine's clock may be wrong, as a board's is that has no battery for it. It may be anybody's: its
    file is no store unless it is just what this version writes. Raises StoreError.
    """
    now = clock.time()
    with _translated(other), contextlib.closing(_connect(other)) as connection:
        _check_foreign(connection, other)
    found, damaged = read(store=other)
    if damaged:
        raise StoreError(damaged[0], hint="run the command again")
    if any(item.kind != kind for item in found):
        raise StoreError(f"there are results that no {kind} measured", hint="run the command again")
    return [dataclasses.replace(item, time=now) for item in found]


def add(results: Sequence[Result], *, store: Path | None = None) -> Path:
    """Append results, and return the store's path; raises StoreError."""
    return _insert(results, store or place())


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
    that day or later. Raises InvalidValueError for another filter, StoreError if there is no store, if it
    cannot be read or if one of its results is damaged.
    """
    found, damaged = read(filters, store=store)
    if damaged:
        raise StoreError(damaged[0], hint="edgecnn report shows the others")
    return found


def read(filters: Sequence[str] = (), *, store: Path | None = None) -> tuple[list[Result], list[str]]:
    """Return the results as `query` does, and a sentence for each row of the store that is none."""
    wanted = [_parse(text) for text in filters]
    since = max((float(value) for key, value in wanted if key == "since"), default=0.0)
    store = store or place()
    if wrong := files.unlike_file(store, "a store of results"):
        if os.path.lexists(store):
            raise StoreError(f"{store} is {wrong}", hint="set EDGECNN_RESULTS to another file")
        raise StoreError(f"there are no results yet in {store}", hint="edgecnn profile m.onnx")
    found, damaged = [], []
    with _translated(store), contextlib.closing(_connect(store)) as connection:
        _check(connection, store)
        rows = connection.execute(
            "SELECT id, time, kind, path, sha256, host, result, samples FROM results WHERE time >= ?"
            " ORDER BY time, id",
            (since,),
        )
        for number, *row in rows:
            try:
                result = _result(row)
            except ValueError as error:
                damaged.append(f"result {number} of {store} is damaged: {error!s:.100}")
                continue
            if all(_meets(result, key, value) for key, value in wanted):
                found.append(result)
    return found, damaged


def _result(row: Sequence[Any]) -> Result:
    """Return a row as a result; raises ValueError for what no edgecnn has written."""
    time, *texts, samples = row
    if not isinstance(time, int | float) or not 0 <= time < _LATEST:
        raise ValueError("it has no time")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its texts are none")
    if not (samples is None or isinstance(samples, bytes)):
        raise ValueError("its samples are none")
    kind, path, sha256, host, text = texts
    values = strict_json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("its values are no object")
    return Result(time, kind, path, sha256, host, values, samples)


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
    connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


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


def _check_foreign(connection: sqlite3.Connection, store: Path) -> None:
    """Raise StoreError for a file whose tables are not just ours, or hold more than a command measures.

    A view in place of a table could compute for ever.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(_SCHEMA)
        expected = ours.execute(_TABLES).fetchall()
    if connection.execute(_TABLES).fetchall() != expected:
        raise StoreError(f"{store} is no store of results", hint="run the command again")
    rows, longest = connection.execute(
        "SELECT count(*), coalesce(max(length(result) + length(path)), 0) FROM results"
    ).fetchone()
    if rows > _FOREIGN_ROWS or longest > _FOREIGN_TEXT:
        raise StoreError(
            f"{rows} results of up to {longest / 1e6:.0f} MB, of one command", hint="run it with fewer models"
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
    except (sqlite3.DatabaseError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"the store of results {store} is damaged: {error}", hint="move it away, and a new one is begun"
        ) from error
    except OSError as error:
        raise StoreError(
            f"the store of results {store} cannot be used: {error.strerror}", hint=elsewhere
        ) from error
