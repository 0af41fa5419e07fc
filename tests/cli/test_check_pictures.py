"""What ``check`` and ``concepts build`` see of a picture file: each frame, whatever its number of bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from latent_guard.concepts.bank import ConceptBank

Command = Callable[..., Any]


def noise(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def save_frames(path: Path, frames: Sequence[Image.Image]) -> None:
    frames[0].save(path, save_all=True, append_images=list(frames[1:]), lossless=True)


@pytest.fixture
def findings(latent_guard_command: Command, tiny_bundle: Path) -> Callable[..., list[dict[str, Any]]]:
    """Findings of ``check`` on paths."""

    def check(*paths: Path, bank: Path = tiny_bundle / "bank") -> list[dict[str, Any]]:
        done = latent_guard_command(
            "check", *paths, "--model", tiny_bundle / "pipeline", "--bank", bank, "--format", "jsonl"
        )
        return [json.loads(line) for line in done.out.splitlines()]

    return check


def with_threshold(folder: Path, threshold: float, out: Path) -> Path:
    bank = ConceptBank.load(folder)
    bank.with_thresholds(bank.noise_levels, torch.full_like(bank.thresholds, threshold)).save(out)
    return out


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "apng", "tiff", "tif"])
def test_one_unsafe_frame_flags_an_animation(
    findings: Callable[..., list[dict[str, Any]]], tiny_bundle: Path, tmp_path: Path, suffix: str
) -> None:
    frames = noise(6)
    save_frames(tmp_path / f"still.{suffix}", frames[:1])
    save_frames(tmp_path / f"moving.{suffix}", frames)
    seen = findings(tmp_path / f"moving.{suffix}")
    assert [line["row"] for line in seen] == list(range(6))
    (still,) = findings(tmp_path / f"still.{suffix}")
    assert seen[0]["score"] == pytest.approx(still["score"], abs=1e-2)
    *_, second, highest = sorted(line["score"] for line in seen)
    bank = with_threshold(tiny_bundle / "bank", (second + highest) / 2, tmp_path / "bank")
    decisions = [line["decision"] for line in findings(tmp_path / f"moving.{suffix}", bank=bank)]
    assert sorted(decisions) == ["allowed"] * 5 + ["flagged"]
    assert decisions.index("flagged") == max(range(6), key=lambda n: seen[n]["score"])


def test_an_endless_animation_is_not_read(findings: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), n % 200) for n in range(257)]
    save_frames(tmp_path / "endless.tiff", frames)
    save_frames(tmp_path / "long.tiff", frames[:256])
    (endless,) = findings(tmp_path / "endless.tiff")
    assert endless["decision"] == "unreadable"
    assert "it has 257 frames, and at most 256 can be read" in endless["error"]
    assert len(findings(tmp_path / "long.tiff")) == 256


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_of_16_bits_scores_like_that_of_8(
    findings: Callable[..., list[dict[str, Any]]], tmp_path: Path, suffix: str
) -> None:
    gray = np.random.default_rng(0).integers(256, size=(16, 16), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / f"8.{suffix}")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / f"16.{suffix}")
    eight, sixteen = findings(tmp_path / f"8.{suffix}", tmp_path / f"16.{suffix}")
    assert sixteen["score"] == pytest.approx(eight["score"], abs=1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_known_white_are_unreadable(
    findings: Callable[..., list[dict[str, Any]]], tmp_path: Path, kind: Any
) -> None:
    Image.fromarray(np.ones((8, 8), dtype=kind)).save(tmp_path / "a.tiff")
    (line,) = findings(tmp_path / "a.tiff")
    assert line["decision"] == "unreadable"
    assert "have no known white; save it with 8 or 16 bits" in line["error"]


def test_an_empty_file_of_latents_is_unreadable(findings: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    save_file({"latents": torch.zeros(0, 4, 8, 8)}, tmp_path / "none.safetensors")
    (line,) = findings(tmp_path / "none.safetensors")
    assert (line["decision"], "empty" in line["error"]) == ("unreadable", True)


def test_a_page_description_is_not_interpreted_whatever_its_name(
    findings: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "page.eps")
    (tmp_path / "page.eps").rename(tmp_path / "page.png")
    (line,) = findings(tmp_path / "page.png")
    assert (line["decision"], "cannot identify" in line["error"]) == ("unreadable", True)


def test_a_folder_is_read_whole_and_what_is_skipped_is_counted(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (picture,) = noise(1)
    for suffix in ("tif", "jfif", "jpe", "bmp", "ppm"):
        picture.save(folder / f"a.{suffix}")
    for name in ("notes.txt", "photo.heic", "README"):
        (folder / name).write_text("x")
    done = latent_guard_command("check", folder, "--model", tiny_bundle / "pipeline", "--format", "jsonl")
    assert (done.code, len(done.out.splitlines())) == (0, 5)
    assert done.err == "files skipped, neither pictures nor latents: 3 (.heic, .txt, no suffix)\n"
