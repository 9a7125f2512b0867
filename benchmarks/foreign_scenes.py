"""Pictures with things in them that detectors find: photographs on which cut-outs, faces and letters lie.

A part of benchmarks/foreign_detectors.py. What calibrates and what checks has no source in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from foreign_networks import SCANS, STAMPS
from PIL import Image, ImageDraw, ImageFont

from edgecnn.data import builtin

#: Pixels of a picture's sides.
LEAST, MOST = 360, 720
#: Sides of things, as shares of a picture's shorter one.
SIZES = (0.25, 0.6)
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZabdefghkmnpqrt2345678"


class Scenes:
    """Makes pictures of what there is for calibrating, or of what there is for checking."""

    def __init__(self, *, check: bool, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed + int(check))
        names = builtin.CHECK_PHOTOS if check else builtin.CALIBRATION_PHOTOS
        self._photos = [_opened(builtin.photo(name)) for name in names]
        self._scans = [_half(_opened(builtin.photo(name)), check) for name in SCANS]
        stamps = [path for path in sorted(STAMPS.rglob("*.png")) if not {"symbols"} & set(path.parts)]
        self._stamps = [
            path for path in stamps if hashlib.sha256(path.name.encode()).digest()[0] % 2 == check
        ]
        faces = np.load(builtin.photo("skimage/data/lfw_subset.npy"))[:100]  # then what is no face
        self._faces = faces[1::2] if check else faces[::2]

    def picture(self, kind: str) -> Image.Image:
        """Return an RGB picture of a kind: things, faces, text, letters, gaps or pages."""
        if kind == "pages":
            return self._page()
        image = self._background()
        for _ in range(self._rng.integers(3, 7)):
            getattr(self, f"_put_{kind}")(image)
        return image

    def write(self, kind: str, count: int, folder: Path) -> None:
        """Write so many pictures of a kind into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            self.picture(kind).save(folder / f"{index:03}.png")

    def _background(self) -> Image.Image:
        photo = self._photos[self._rng.integers(len(self._photos))]
        return self._crop(photo, 0.5).resize(
            tuple(self._rng.integers(LEAST, MOST, 2)), Image.Resampling.LANCZOS
        )

    def _crop(self, image: Image.Image, least: float) -> Image.Image:
        width, height = (int(side * self._rng.uniform(least, 1)) for side in image.size)
        left, top = (
            self._rng.integers(0, image.width - width + 1),
            self._rng.integers(0, image.height - height + 1),
        )
        return image.crop((left, top, left + width, top + height))

    def _stamp(self, image: Image.Image) -> Image.Image:
        path = self._stamps[self._rng.integers(len(self._stamps))]
        with Image.open(path) as opened:
            stamp = opened.convert("RGBA")
        side = self._rng.uniform(*SIZES) * min(image.size)
        scale = side / max(stamp.size)
        return stamp.resize([max(4, int(edge * scale)) for edge in stamp.size], Image.Resampling.LANCZOS)

    def _place(self, image: Image.Image, size: Sequence[int]) -> tuple[int, int]:
        left, top = (self._rng.integers(0, max(1, a - b)) for a, b in zip(image.size, size, strict=True))
        return int(left), int(top)

    def _put_things(self, image: Image.Image) -> None:
        stamp = self._stamp(image)
        image.paste(stamp, self._place(image, stamp.size), stamp)

    def _put_faces(self, image: Image.Image) -> None:
        face = Image.fromarray((self._faces[self._rng.integers(len(self._faces))] * 255).astype(np.uint8))
        side = int(self._rng.uniform(0.15, 0.45) * min(image.size))
        face = face.resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
        image.paste(face, self._place(image, face.size))

    def _put_text(self, image: Image.Image) -> None:
        words = ["".join(self._rng.choice(list(LETTERS), self._rng.integers(2, 9))) for _ in range(3)]
        self._write(image, " ".join(words), self._rng.uniform(0.04, 0.1))

    def _put_letters(self, image: Image.Image) -> None:
        self._write(image, str(self._rng.choice(list(LETTERS))), self._rng.uniform(0.12, 0.3))

    def _write(self, image: Image.Image, text: str, share: float) -> None:
        font = ImageFont.load_default(max(10, int(share * min(image.size))))
        left, top, right, bottom = font.getbbox(text)
        place = self._place(image, (int(right - left), int(bottom - top)))
        colour = tuple(int(level) for level in self._rng.integers(0, 256, 3))
        ImageDraw.Draw(image).text(place, text, colour, font)

    def _put_gaps(self, image: Image.Image) -> None:
        """Darken a silhouette, as the gap of a puzzle, and lay what was there beside it."""
        mask = self._stamp(image).getchannel("A")
        left, top = self._place(image, mask.size)
        box = (left, top, left + mask.width, top + mask.height)
        piece = image.crop(box)
        image.paste(Image.blend(piece, Image.new("RGB", piece.size), 0.6), box, mask)
        image.paste(piece, (0, top), mask)

    def _page(self) -> Image.Image:
        """Return a white page of scanned text, a photograph or two, and lines."""
        page = Image.new("RGB", (700, 900), "white")
        top = 20
        while top < 820:
            source = self._scans[self._rng.integers(len(self._scans))]
            if self._rng.random() < 0.3:
                source = self._photos[self._rng.integers(len(self._photos))]
            part = self._crop(source, 0.6)
            width = int(self._rng.uniform(0.4, 0.9) * page.width)
            height = min(int(part.height * width / part.width), 300)
            page.paste(
                part.resize((width, height), Image.Resampling.LANCZOS), (int(self._rng.integers(10, 60)), top)
            )
            top += height + int(self._rng.integers(15, 40))
        return page


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _half(image: Image.Image, lower: bool) -> Image.Image:
    middle = image.height // 2
    return image.crop((0, middle if lower else 0, image.width, image.height if lower else middle))
