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

from latent_guard.errors import InputError, one_line
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.pipelines import vae
from latent_guard.sharding import Worker
from latent_guard.training.data.tar_shards import TarShardWriter
from latent_guard.training.encoding.aspect_buckets import PictureShape, native_shapes
from latent_guard.training.encoding.images import read_picture
from latent_guard.training.encoding.plan import Encoded, Plan, Settings
from latent_guard.training.encoding.progress import encode_progress
from latent_guard.training.encoding.samples import Sample
from latent_guard.training.encoding.sources import ImageSource

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
        native_aspect: images are cut not to the square, but to the nearest of a few shapes of about its area.
    """

    vae: Any
    name: str
    tokenizer: CLIPTokenizer
    size: int
    dtype: str
    batch: int
    native_aspect: bool = False

    @property
    def latent_space(self) -> LatentSpace:
        return LatentSpace.of_vae(self.vae)

    def shapes(self) -> tuple[PictureShape, ...]:
        """What pictures are cut to.

        Raises:
            InputError: the VAE cannot encode pictures of this size.
        """
        space = self.latent_space
        if self.size % (multiple := space.factor * space.patch):
            raise InputError(f"size {self.size} is not a multiple of {multiple}, as {space} needs")
        return native_shapes(self.size, multiple) if self.native_aspect else (PictureShape(self.size, self.size),)

    @torch.inference_mode()
    def latents(self, pictures: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), posterior means, of uint8 pictures (B, 3, height, width); on the CPU."""
        return vae.encode(self.vae, pictures).to("cpu", DTYPES[self.dtype])


def encode(
    source: ImageSource,
    out: Path,
    encoder: Encoder,
    worker: Worker,
    rows_per_shard: int,
    *,
    command: str = "",
    show_progress: bool = True,
) -> Encoded:
    """Write a worker's share of the source into ``out``; what is finished there already, and whole, is not touched.

    Rows without a usable image or caption are listed in ``bad.jsonl``. A part of the source that cannot be read to its
    end is left at its last whole shard; the other parts are still encoded. ``command`` is kept, to be told to whoever
    finds the shards damaged.

    Raises:
        InputError: a part could not be read to its end, ``out`` was begun with other settings or cannot be written
            into (a full disk), no row gave a sample, or sizes or columns do not fit. Finished shards stay good.
    """
    settings = _settings(source, encoder, rows_per_shard)
    try:
        out.mkdir(parents=True, exist_ok=True)
        plan = Plan.open(out, settings, command)
        plan.take_back(worker)
        broken = _encode_parts(source, plan, encoder, worker, show_progress)
        encoded = plan.finish()
    except OSError as error:
        raise InputError(
            f"cannot write into {out} ({one_line(error, 300)}); finished shards are good: make room, then run the same "
            "command again"
        ) from error
    if broken:
        raise broken[0]
    return encoded


def _settings(source: ImageSource, encoder: Encoder, rows_per_shard: int) -> Settings:
    encoder.shapes()  # before anything is written: the size must fit
    return Settings(
        source=source.name,
        parts=source.parts,
        vae=encoder.name,
        latent_space=encoder.latent_space.to_dict(),
        tokenizer={"vocab_size": len(encoder.tokenizer), "context_length": encoder.tokenizer.model_max_length},
        dtype=encoder.dtype,
        size=encoder.size,
        rows_per_shard=rows_per_shard,
        native_aspect=encoder.native_aspect,
    )


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
            except ConnectionError as error:  # what cannot be reached is not bad
                broken.append(InputError(f"{source.name}: {error}; run the same command again"))
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
    """Batches hold pictures of one shape: each shape's wait until there are enough of them, or the chunk ends."""
    first, encoder = chunk * work.plan.settings.rows_per_shard, work.encoder
    waiting = dict[torch.Size, list[tuple[_Read, Tensor]]]()
    with TarShardWriter(work.plan.tar(part, chunk), encoder.latent_space) as writer:
        for read in _read_ahead(samples, first, encoder, work.readers):
            if (picture := read.picture) is None:
                writer.add_bad(read.sample.key, read.row, read.reason)
            else:
                waiting.setdefault(picture.shape, []).append((read, picture))
                if len(waiting[picture.shape]) == encoder.batch:
                    _encode_batch(waiting.pop(picture.shape), part, encoder, writer)
            work.progress.advance(work.progress.task_ids[0])
        for batch in waiting.values():
            _encode_batch(batch, part, encoder, writer)


@dataclass(frozen=True)
class _Read:
    """A sample with its picture, or the reason why it has none."""

    sample: Sample
    row: int
    picture: Tensor | None
    reason: str = ""


def _read_ahead(samples: Iterable[Sample], row: int, encoder: Encoder, readers: ThreadPoolExecutor) -> Iterator[_Read]:
    """Samples with decoded pictures, the first of row ``row``; while one batch is encoded, threads decode the next."""
    shapes, numbered, waiting = encoder.shapes(), enumerate(samples, row), deque[Future[_Read]]()
    while True:
        coming = islice(numbered, 2 * encoder.batch - len(waiting))
        waiting.extend(readers.submit(_read, sample, number, shapes) for number, sample in coming)
        if not waiting:
            return
        yield waiting.popleft().result()


def _read(sample: Sample, row: int, shapes: tuple[PictureShape, ...]) -> _Read:
    try:
        if sample.caption is None or not sample.caption.strip():
            raise InputError("no caption")
        sample.caption.encode()
        return _Read(sample, row, read_picture(sample.content(), shapes))
    except UnicodeEncodeError:
        return _Read(sample, row, None, "the caption is not valid Unicode")
    except InputError as error:
        return _Read(sample, row, None, str(error))


def _encode_batch(batch: list[tuple[_Read, Tensor]], part: int, encoder: Encoder, writer: TarShardWriter) -> None:
    latents = encoder.latents(torch.stack([picture for _, picture in batch]))
    captions = [str(read.sample.caption) for read, _ in batch]
    for (read, _), latent, tokens in zip(batch, latents, tokenize(encoder.tokenizer, captions), strict=True):
        key = read.sample.key
        if latent.isfinite().all():
            writer.add(f"{part:05d}-{read.row:08d}", key, latent, tokens, str(read.sample.caption))
        else:
            writer.add_bad(key, read.row, f"its latent is not finite in {encoder.dtype}")
