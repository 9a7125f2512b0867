"""What is fuzzed: where a stranger's bytes come in. Each target makes an input and feeds it in.

A feed may raise EdgecnnError, which is one clear line; everything else it raises has been found.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sqlite3
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutate

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """`make` gives an input from a seeded generator, `feed` puts it in."""

    name: str
    make: Callable[[random.Random], Any]
    feed: Callable[[Any], object]
    #: Of the quick suite.
    few: int = 200


def targets(folder: Path) -> dict[str, Target]:
    """Return the targets by name; `folder` holds the files that are fed in."""
    makers = (
        _metadata,
        _manifests,
        _checkpoints,
        _pickles,
        _images,
        _recipes,
        _stores,
        _frames,
        _command_lines,
    )
    return {target.name: target for make in makers for target in [make(folder)]}


def _manifest() -> dict[str, Any]:
    from edgecnn.zoo import NetworkSpec, checkpoint
    from edgecnn.zoo.open_network import open_network

    spec = NetworkSpec("lenet5", num_classes=7)
    opened = open_network(spec)
    manifest = checkpoint.describe(
        spec, opened.network, opened.lineage,
        preprocessing=spec.preprocessing, labels=tuple("abcdefg"), weights="random",
    )  # fmt: skip
    values = json.loads(manifest.to_json())
    values["engine"] = {
        "backend": "onnxruntime", "needs": {"processor": ["a"]}, "built_on": {}, "flags": {},
        "parent": "m.onnx", "parent_sha256": "0" * 64, "files": {"m.ort": "0" * 64},
    }  # fmt: skip
    row = {"op": "Conv", "macs": 1, "params": 1, "reads": 1, "writes": 1, "output": "o", "inputs": []}
    return {**values, "layers": {"conv": row}}


def _metadata(folder: Path) -> Target:
    from small_classifier import classifier

    from edgecnn import onnx_metadata

    samples = [classifier(folder / f"{kind}.onnx", kind).read_bytes() for kind in ("float32", "int8")]
    path = folder / "fed.onnx"

    def feed(content: bytes) -> None:
        path.write_bytes(content)
        onnx_metadata.read(path)
        onnx_metadata.contents(path)

    return Target("metadata", lambda rng: mutate.bytes_of(rng, samples), feed)


def _manifests(folder: Path) -> Target:
    from edgecnn.artifact import Manifest
    from edgecnn.runtime.preprocessing import Preprocessing

    sample = _manifest()

    def feed(text: str) -> None:
        manifest = Manifest.from_json(text)
        if manifest.preprocessing is not None:
            Preprocessing.from_json(manifest.preprocessing)

    return Target("manifests", lambda rng: mutate.json_of(rng, sample), feed)


def _checkpoints(folder: Path) -> Target:
    from edgecnn.zoo import NetworkSpec, checkpoint
    from edgecnn.zoo.open_network import open_network

    spec, path = NetworkSpec("lenet5", num_classes=7), folder / "fed.safetensors"
    opened = open_network(spec)
    manifest = checkpoint.describe(
        spec, opened.network, opened.lineage,
        preprocessing=spec.preprocessing, labels=None, weights="random",
    )  # fmt: skip
    checkpoint.save(path, opened.network, manifest)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, tensors = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    inner = json.loads(header["__metadata__"]["edgecnn"])

    def make(rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return mutate.bytes_of(rng, [whole])
        if kind < 0.6:
            text = mutate.json_of(rng, header)
        else:
            text = json.dumps({**header, "__metadata__": {"edgecnn": mutate.json_of(rng, inner)}})
        encoded = text.encode()
        return struct.pack("<Q", len(encoded)) + encoded + tensors

    def feed(content: bytes) -> None:
        path.write_bytes(content)
        checkpoint.load(path)

    return Target("checkpoints", make, feed, few=100)


def _pickles(folder: Path) -> Target:
    import torch

    from edgecnn.zoo.state_file import read_state

    samples = []
    tensors = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3, dtype=torch.float16)}
    for content in (tensors, {"state_dict": tensors, "epoch": 3, "ema": tensors}):
        for archive in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=archive)
            samples.append(stream.getvalue())
    path = folder / "fed.pth"

    def feed(content: bytes) -> None:
        path.write_bytes(content)
        read_state(path, 1 << 30)

    return Target("pickles", lambda rng: mutate.bytes_of(rng, samples), feed)


def _images(folder: Path) -> Target:
    import numpy as np
    from PIL import Image

    from edgecnn.runtime import prepare
    from edgecnn.runtime.preprocessing import Preprocessing

    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    picture, samples = Image.fromarray(pixels), []
    for kind in ("jpeg", "png", "bmp", "gif", "webp", "ppm", "tiff"):
        for mode in ("RGB", "L", "P"):
            stream = io.BytesIO()
            with contextlib.suppress(OSError):
                picture.convert(mode).save(stream, kind)
                samples.append(stream.getvalue())
    preprocessing = Preprocessing(16)
    return Target(
        "images", lambda rng: mutate.bytes_of(rng, samples), lambda image: prepare.frame(preprocessing, image)
    )


def _recipes(folder: Path) -> Target:
    from edgecnn.recipe import schema

    samples = [path.read_text() for path in sorted((ROOT / "recipes").glob("*.yaml"))]
    path = folder / "fed.yaml"

    def feed(text: str) -> None:
        path.write_text(text, errors="surrogatepass")
        schema.read(path)

    return Target("recipes", lambda rng: mutate.words_of(rng, rng.choice(samples)), feed, few=100)


def _stores(folder: Path) -> Target:
    from stored import evaluated, profiled

    from edgecnn.measure import store
    from edgecnn.report.rows import rows
    from edgecnn.report.soundness import damage

    place = folder / "fed.sqlite"
    store._insert([profiled("a"), evaluated("a", 0.5)], place)
    with contextlib.closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    whole = place.read_bytes()
    values = [dict(item.values) for item in (profiled("a"), evaluated("a", 0.5))]

    def make(rng: random.Random) -> tuple[bytes, str | None]:
        if rng.random() < 0.5:
            return mutate.bytes_of(rng, [whole]), None
        return whole, mutate.json_of(rng, rng.choice(values))

    def feed(made: tuple[bytes, str | None]) -> None:
        for other in folder.glob("fed.sqlite*"):
            other.unlink()
        content, result = made
        place.write_bytes(content)
        if result is not None:
            with contextlib.closing(sqlite3.connect(place)) as connection:
                connection.execute("UPDATE results SET result = ? WHERE rowid = 1", (result,))
                connection.commit()
        rows([result for result in store.read(store=place)[0] if damage(result) is None])

    return Target("stores", make, feed, few=60)


def _frames(folder: Path) -> Target:
    from edgecnn.devices.remote.board import frames

    stream = io.BytesIO()
    frames.write_frame(stream, {"do": "run", "arguments": ["a"], "paths": {"a": "b"}})
    frames.write_frame(stream, {"stdout": 3, "id": 7}, b"abc")
    samples = [stream.getvalue()]

    def feed(content: bytes) -> None:
        stream = io.BytesIO(content)
        with contextlib.suppress(frames.Damaged):
            while frames.read_frame(stream) is not None:
                pass

    return Target("frames", lambda rng: mutate.bytes_of(rng, samples), feed)


#: What a command line is made of. None of it names a file that is there, so that no work begins.
_WORDS = (
    "mobilenet", "lenet5", "nowhere.onnx", "nowhere.safetensors", "m.onnx", "folder/", "-", "--", "0", "-1",
    "nan", "1e400", "9" * 400, "int8", "cpu", "portable", "0.5x", "1:8:32", "", " ", "\x1b[31m", "[/x]", "é",
    "a=b", "@", "hf:a/b@c", "[red]", "x" * 300, "ssh://a@b", "digits", "../..", "%s",
)  # fmt: skip
#: Commands that find at once that their file is not there; of the others the line is read only.
_CALLED = ("info", "predict", "quantize", "compile", "profile", "compare", "eval", "models", "report")


def _command_lines(folder: Path) -> Target:
    import click

    from edgecnn.cli import COMMANDS, group, main

    context = click.Context(group)
    options = {
        name: [option for item in command.params for option in item.opts]
        for name in COMMANDS
        for command in [group.get_command(context, name)]
        if command is not None
    }

    def make(rng: random.Random) -> list[str]:
        name = rng.choice(list(options))
        words = [rng.choice(rng.choice((_WORDS, options[name] or _WORDS))) for _ in range(rng.randrange(6))]
        return [name, "nowhere.onnx", *words]

    def feed(arguments: list[str]) -> None:
        if arguments[0] in _CALLED and "--on" not in arguments and "--help" not in arguments:
            _call(main, arguments, folder)
            return
        command = group.get_command(context, arguments[0])
        assert command is not None
        with (
            contextlib.suppress(click.ClickException, click.exceptions.Exit),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            command.make_context(arguments[0], list(arguments[1:]))

    return Target("command lines", make, feed, few=60)


def _call(main: Callable[[], object], arguments: list[str], folder: Path) -> None:
    """Run the program here. Raises AssertionError for what no command line may come to."""
    said, before, here = io.StringIO(), sys.argv, Path.cwd()
    sys.argv = ["edgecnn", *arguments]
    os.chdir(folder)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
        ):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
        os.chdir(here)
    assert code in (0, 1, 2, 3), f"exit code {code}"
    text = said.getvalue()
    assert "error: unexpected" not in text and "Traceback" not in text, text
