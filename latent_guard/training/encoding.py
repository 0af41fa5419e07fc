"""From images with captions to latent shards, exactly once, however often it is killed on the way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.progress import Progress
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.training.encode_plan import Encoded, Plan, Settings, Worker
from latent_guard.training.encode_progress import encode_progress
from latent_guard.training.pictures import read_picture
from latent_guard.training.sources import ImageSource, Sample
from latent_guard.training.tar_shards import TarShardWriter

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_READERS = min(16, os.cpu_count() or 1)


@dataclass(frozen=True)
class Encoder:
    """What turns pictures and captions into samples.

    Attributes:
        vae: of diffusers, in evaluation mode, on the device that it shall run on.
        name: folder or hub id of the VAE.
        size: pixels of a side of the square that images are scaled and cut to.
        dtype: of the latents kept: "float16" or "bfloat16".
        batch: pictures encoded at once.
    """

    vae: Any
    name: str
    tokenizer: CLIPTokenizer
    size: int
    dtype: str
    batch: int

    @property
    def latent_space(self) -> LatentSpace:
        return LatentSpace.of_vae(self.vae)

    @torch.inference_mode()
    def latents(self, pictures: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), posterior means, of uint8 pictures (B, 3, size, size); on the CPU."""
        images = pictures.to(self.vae.device).to(self.vae.dtype) / 127.5 - 1
        encoded = self.vae.encode(images)
        mean: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
        return mean.to("cpu", DTYPES[self.dtype])


def encode(
    source: ImageSource, out: Path, encoder: Encoder, worker: Worker, rows_per_shard: int, *, show_progress: bool = True
) -> Encoded:
    """Write a worker's share of the source into ``out``; what is finished there already is not touched.

    Rows without a usable image or caption are listed in ``bad.jsonl``. A part of the source that cannot be read to its
    end is left at its last whole shard; the other parts are still encoded.

    Raises:
        InputError: a part could not be read to its end, ``out`` was begun with other settings or cannot be written
            into (a full disk), no row gave a sample, or sizes or columns do not fit. Finished shards stay good.
    """
    space = encoder.latent_space
    if encoder.size % (space.factor * space.patch):
        raise InputError(f"size {encoder.size} is not a multiple of {space.factor * space.patch}, as {space} needs")
    tokens = {"vocab_size": len(encoder.tokenizer), "context_length": encoder.tokenizer.model_max_length}
    settings = Settings(
        source.name, source.parts, encoder.name, space.to_dict(), tokens, encoder.dtype, encoder.size, rows_per_shard
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        plan = Plan.open(out, settings)
        broken = _encode_parts(source, plan, encoder, worker, show_progress)
        encoded = plan.finish()
    except OSError as error:
        raise InputError(
            f"cannot write into {out} ({error.strerror or error}); finished shards are good: make room, then run the "
            "same command again"
        ) from error
    if broken:
        raise broken[0]
    return encoded


def _encode_parts(
    source: ImageSource, plan: Plan, encoder: Encoder, worker: Worker, show_progress: bool
) -> list[InputError]:
    """Encode what is left to this worker; the errors of parts that could not be read to their end."""
    broken, there = [], plan.count()
    left = None if source.rows is None else max(0, source.rows - there.samples - there.bad) // worker.count
    with encode_progress(left, show_progress) as progress, ThreadPoolExecutor(_READERS) as readers:
        work = _Work(plan, encoder, worker, readers, progress)
        for part in range(source.parts):
            try:
                _encode_part(source, part, work)
            except InputError as error:
                broken.append(error)
    return broken


@dataclass(frozen=True)
class _Work:
    plan: Plan
    encoder: Encoder
    worker: Worker
    readers: ThreadPoolExecutor
    progress: Progress


def _encode_part(source: ImageSource, part: int, work: _Work) -> None:
    plan, rows = work.plan, work.plan.settings.rows_per_shard
    if (start := plan.first_open(work.worker, part)) is None:
        return
    samples = source.samples(part, start * rows)
    for chunk in count(start):
        first = next(samples, None)
        if first is None:
            break
        content = islice(chain([first], samples), rows)
        if plan.is_turn(work.worker, part, chunk) and not plan.is_done(part, chunk):
            _encode_chunk(content, part, chunk, work)
        else:
            deque(content, maxlen=0)  # reads on to the next chunk
    plan.mark_end(part, chunk)


def _encode_chunk(samples: Iterable[Sample], part: int, chunk: int, work: _Work) -> None:
    row = chunk * work.plan.settings.rows_per_shard
    with TarShardWriter(work.plan.tar(part, chunk), work.encoder.latent_space) as writer:
        for batch in _read_ahead(samples, work.encoder, work.readers):
            _encode_batch(batch, f"{part:05d}", row, work.encoder, writer)
            row += len(batch)
            work.progress.advance(work.progress.task_ids[0], len(batch))


@dataclass(frozen=True)
class _Read:
    """A sample with its picture, or the reason why it has none."""

    sample: Sample
    picture: Tensor | None
    reason: str = ""


def _read_ahead(samples: Iterable[Sample], encoder: Encoder, readers: ThreadPoolExecutor) -> Iterator[list[_Read]]:
    """Batches of decoded pictures; while one is encoded, threads decode the next."""
    remaining, waiting = iter(samples), list[Future[_Read]]()
    while batch := list(islice(remaining, encoder.batch)):
        coming = [readers.submit(_read, sample, encoder.size) for sample in batch]
        if waiting:
            yield [future.result() for future in waiting]
        waiting = coming
    if waiting:
        yield [future.result() for future in waiting]


def _read(sample: Sample, size: int) -> _Read:
    try:
        if sample.caption is None or not sample.caption.strip():
            raise InputError("no caption")
        sample.caption.encode()
        return _Read(sample, read_picture(sample.image, size))
    except UnicodeEncodeError:
        return _Read(sample, None, "the caption is not valid Unicode")
    except InputError as error:
        return _Read(sample, None, str(error))


def _encode_batch(batch: list[_Read], part: str, row: int, encoder: Encoder, writer: TarShardWriter) -> None:
    pictures = [read.picture for read in batch if read.picture is not None]
    captions = [str(read.sample.caption) for read in batch if read.picture is not None]
    latents = encoder.latents(torch.stack(pictures)) if pictures else torch.empty(0)
    found = zip(latents, tokenize(encoder.tokenizer, captions), strict=True)
    for number, read in enumerate(batch, row):
        if read.picture is None:
            writer.add_bad(read.sample.key, number, read.reason)
            continue
        latent, tokens = next(found)
        if not latent.isfinite().all():
            writer.add_bad(read.sample.key, number, f"its latent is not finite in {encoder.dtype}")
            continue
        writer.add(f"{part}-{number:08d}", read.sample.key, latent, tokens, str(read.sample.caption))
