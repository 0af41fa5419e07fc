"""What the one opener of pictures promises to those who use it."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.files import images as picture_files
from latent_guard.files import upright
from latent_guard.files.images import frames, opened_picture
from latent_guard.training.encoding.images import PictureShape, read_picture


def stored(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def smooth(mode: str, width: int = 96, height: int = 64) -> Image.Image:
    few = np.random.default_rng(1).integers(256, size=(4, 6, len(mode)), dtype=np.uint8)
    return Image.fromarray(few if len(mode) > 1 else few[..., 0]).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("error", [KeyError("mine"), ValueError("mine"), OSError("mine"), MemoryError("mine")])
def test_what_its_user_raises_comes_out_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error), match="mine"), opened_picture(stored(smooth("RGB"))):
        raise error


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(picture: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(InputError, match="too little memory"), opened_picture(stored(smooth("RGB"))):
        pass


@pytest.mark.parametrize("content", [b"", b"\0\0\1\0\0\0", b"\0\0\1\0\5\0ab", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_said_in_the_same_words_each_time(content: bytes) -> None:
    said = []
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            list(frames(content, 4))
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith("not a readable picture (")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_files, "MAX_BYTES", 20)
    (tmp_path / "a.png").write_bytes(stored(smooth("RGB")))
    for source in (tmp_path / "a.png", stored(smooth("RGB"))):
        with pytest.raises(InputError, match="at most 20 are read"), opened_picture(source):
            pass


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (smooth("RGB"), "PNG"),
        (smooth("RGB"), "JPEG"),
        (smooth("RGBA"), "PNG"),
        (smooth("L"), "PNG"),
        (smooth("RGB").quantize(64), "PNG"),
        (Image.fromarray(np.asarray(smooth("L")).astype(np.uint16) * 257), "PNG"),
    ],
)
def test_a_large_picture_is_made_smaller_early_and_looks_the_same(
    monkeypatch: pytest.MonkeyPatch, picture: Image.Image, kind: str
) -> None:
    content, shape = stored(picture, kind), (PictureShape(8, 8),)
    whole = read_picture(content, shape).float()
    monkeypatch.setattr(picture_files, "LARGE", 100)
    monkeypatch.setattr(upright, "LARGE", 100)
    with opened_picture(content, 8) as opened:
        early = upright.upright_rgb(opened, 8)
    assert early.width * early.height < picture.width * picture.height
    assert min(early.size) >= 3 * 8
    assert (read_picture(content, shape).float() - whole).abs().mean() < 4


def test_large_pictures_are_decoded_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_files, "LARGE", 100)
    content, opened = stored(smooth("RGB")), threading.Event()

    def open_it() -> None:
        with opened_picture(content):
            opened.set()

    other = threading.Thread(target=open_it)
    with opened_picture(content):
        other.start()
        assert not opened.wait(0.2)
    other.join(5)
    assert opened.is_set()
