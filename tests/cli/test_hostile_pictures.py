"""Small files that hold huge pictures, and icons."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from latent_guard.files import images as picture_files
from tests.cli.picture_sources import GOOD, READERS, Reading, plain_folder


def stored(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def png(side: int) -> bytes:
    """The beginning of a PNG of one bit a pixel: its size is known, and what follows would be read next."""
    size = b"IHDR" + struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size))
    return start + struct.pack(">I", 1 << 20) + b"IDAT" + zlib.compress(bytes(1 << 16))


def icon(pictures: dict[int, bytes]) -> bytes:
    """An icon of pictures, each said to have so many pixels a side."""
    entries, at = b"", 6 + 16 * len(pictures)
    for side, picture in pictures.items():
        entries += struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(picture), at)
        at += len(picture)
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + b"".join(pictures.values())


BOMBS = {
    "1_bit.png": png(13_300),
    "icon.ico": icon({16: png(9000)}),
    "header.bmp": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 0, 0, 0, 54, 40, 30_000, 30_000, 1, 24, *[0] * 6),
}


@pytest.mark.parametrize("reader", ["encode, a folder", "zero-shot, a folder of classes", "check"])
def test_a_small_file_with_a_huge_picture_is_not_decoded(reading: Reading, tmp_path: Path, reader: str) -> None:
    read, write = READERS[reader]
    _, bad = read(reading, write(tmp_path / "source", {"good.jpg": GOOD, **BOMBS}))
    assert sorted(Path(name).name for name in bad) == sorted(BOMBS)
    for reason in bad.values():
        assert "at most 64,000,000 are read" in reason or "decompression bomb" in reason


def test_check_refuses_a_huge_page_and_too_many_pixels_in_all(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = Image.new("1", (8, 8)), Image.new("1", (60, 60))
    pictures = {"page.tif": ([small, large], "TIFF"), "many.gif": ([small, ImageOps.invert(small)] * 40, "GIF")}
    for name, ((first, *others), kind) in pictures.items():
        pictures[name] = stored(first, kind, save_all=True, append_images=others)
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 1000)
    monkeypatch.setattr(picture_files, "MAX_PIXELS_IN_ALL", 5000)
    _, bad = reading.check(plain_folder(tmp_path / "source", pictures))
    many, page = bad.values()
    assert "5,000 pixels in all; split it up" in many
    assert "it has 60 x 60 pixels, and at most 1,000 are read" in page


def test_every_size_of_an_icon_is_judged(reading: Reading, tmp_path: Path) -> None:
    shown = {side: Image.fromarray(noise(side)) for side in (16, 48, 64)}
    (tmp_path / "a.ico").write_bytes(icon({side: stored(picture, "PNG") for side, picture in shown.items()}))
    for side, picture in shown.items():
        picture.save(tmp_path / f"{side}.png")
    sizes = [tmp_path / f"{side}.png" for side in sorted(shown, reverse=True)]
    scores = [row["score"] for row in reading.findings(tmp_path / "a.ico", *sizes)]
    assert len(scores) == 6
    assert scores[:3] == pytest.approx(scores[3:], abs=1e-5)
    assert len({round(score, 4) for score in scores}) == 3


def noise(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(side).integers(256, size=(side, side, 3), dtype=np.uint8)
