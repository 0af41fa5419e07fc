"""The parts of bulk work, timed on one core of this machine or counted on the meta device."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from latent_guard.guidance.moderation import Finding
from latent_guard.latent_clip.latent_space import PUBLISHED
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.presets import PRESETS
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.training.data.tar_shards import TarShardWriter
from latent_guard.training.encoding.images import PictureShape, read_picture

SIDE, TOKENS = 512, 77
LATENT = (4, SIDE // 8, SIDE // 8)
PIECES = 400  # through Ray, without work
GIGA = 1e9


@dataclass(frozen=True)
class Parts:
    """Rates a second, of one core; sizes in bytes; arithmetic in GFLOP (a multiplication and an addition are two).

    Attributes:
        pictures_read: JPEGs of ``jpeg_bytes`` decoded, scaled and cut to 512 x 512.
        jpeg_bytes: of one.
        samples_written: latents (4, 64, 64) in float16 with token ids and caption, into a tar.
        sample_bytes: of one in its tar.
        findings_written: lines of ``check --out``, in groups of 16.
        finding_bytes: of one line.
        pieces_dealt: pieces of no work through a Ray pool of one worker on this machine, with its results in order.
        encode_gflop: SDXL's VAE encoder on one picture.
        look_gflop: Latent-ViT B/8 on one latent.
        train_gflop: B/8's two towers on one pair, forward and backward (three times the forward pass).
    """

    pictures_read: float
    jpeg_bytes: int
    samples_written: float
    sample_bytes: float
    findings_written: float
    finding_bytes: float
    pieces_dealt: float
    encode_gflop: float
    look_gflop: float
    train_gflop: float


def measured(seconds: float) -> Parts:
    """All of them; each timed part for so many seconds."""
    torch.set_num_threads(1)
    jpeg = _jpeg()
    look, text = _towers_gflop()
    with tempfile.TemporaryDirectory() as folder:
        samples, sample_bytes = _samples_written(Path(folder) / "stand-in.tar", seconds)
        findings, finding_bytes = _findings_written(Path(folder) / "findings.jsonl", seconds)
    return Parts(
        pictures_read=_rate(lambda: read_picture(jpeg, (PictureShape(SIDE, SIDE),)), seconds),
        jpeg_bytes=len(jpeg),
        samples_written=samples,
        sample_bytes=sample_bytes,
        findings_written=findings,
        finding_bytes=finding_bytes,
        pieces_dealt=_pieces_dealt(),
        encode_gflop=_encoder_gflop(),
        look_gflop=look,
        train_gflop=3 * (look + text),
    )


def _rate(work: Callable[[], object], seconds: float, each: int = 1) -> float:
    """Repetitions a second of a core, ``each`` a call of ``work``."""
    work()
    began, done = time.process_time(), 0  # what else the machine does counts for nothing
    while (elapsed := time.process_time() - began) < seconds:
        work()
        done += each
    return done / elapsed


def _jpeg() -> bytes:
    """A picture of 768 x 576 pixels with as much detail as a photograph: noise of every size, the finer the fainter."""
    rng, height, width = np.random.default_rng(0), 576, 768
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) + 1 / width
    waves = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / frequency**1.3) for _ in range(3)]
    pixels = np.stack([128 + 48 * wave / wave.std() for wave in waves], -1).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _samples_written(tar: Path, seconds: float) -> tuple[float, float]:
    latent, ids = torch.randn(LATENT).half(), torch.arange(TOKENS)
    count = 0
    with TarShardWriter(tar, PUBLISHED["SDXL"]) as writer:

        def add() -> None:
            nonlocal count
            writer.add(f"00000-{count:08d}", str(count), latent, ids, "a caption of a usual length, of some ten words")
            count += 1

        rate = _rate(add, seconds)
    return rate, tar.stat().st_size / count


def _findings_written(out: Path, seconds: float) -> tuple[float, float]:
    from latent_guard.cli.findings_file import FILES_AT_A_TIME, FindingsFile

    scores = dict.fromkeys(("hate", "harassment", "violence", "self-harm", "sexual", "shocking"), -1.2345678)
    group = [
        Finding(f"pictures/{number:09d}.jpg", 0, "allowed", "violence", "a weapon", -1.234, 0.5, 0.01, None, scores)
        for number in range(FILES_AT_A_TIME)
    ]
    with FindingsFile(out, "0" * 16, []) as file:
        rate = _rate(partial(file.add, group), seconds, len(group))
    return rate, out.stat().st_size / out.read_text().count("\n")


def _encoder_gflop() -> float:
    from benchmarks.published import CASES

    case = next(case for case in CASES.values() if case.name == "SDXL 512 px")
    with torch.device("meta"):
        vae: Any = case.vae(False)
        picture = torch.empty(1, 3, SIDE, SIDE)
    return _gflop(lambda: vae.encode(picture))


def _towers_gflop() -> tuple[float, float]:
    """Of one latent, and of one caption."""
    with torch.device("meta"):
        model = LatentCLIP(PRESETS["latent-vit-b-8"], trimmed_clip_tokenizer())
        latent, ids = torch.empty(1, *LATENT), torch.empty(1, TOKENS, dtype=torch.long)
    return _gflop(lambda: model.encode_latents(latent)), _gflop(lambda: model.encode_text(ids))


@torch.no_grad()
def _gflop(work: Callable[[], object]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops() / GIGA


@dataclass(frozen=True)
class _NoWork:
    def open(self) -> Callable[[int], int]:
        return int


def _pieces_dealt() -> float:
    from latent_guard.serving.bulk.cluster import LOCAL, connected
    from latent_guard.serving.bulk.pool import results_of

    with connected(LOCAL):
        results = results_of(_NoWork(), range(PIECES))
        next(results)  # the worker is there
        began = time.perf_counter()
        return sum(1 for _ in results) / (time.perf_counter() - began)
