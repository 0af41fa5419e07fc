"""The encoding of a data set into latent shards: each sample is written exactly once, however often it is killed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

from latent_guard.errors import InputError, one_line
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.sharding import Worker
from latent_guard.terminal import progress
from latent_guard.training.data.tar_shards import TarShardWriter
from latent_guard.training.encoding.encoder import Encoder
from latent_guard.training.encoding.images import PictureShape, read_picture
from latent_guard.training.encoding.plan import Encoded, Plan, Settings
from latent_guard.training.encoding.sources import ImageSource, Sample

_READERS = min(16, os.cpu_count() or 1)


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
    """Write a worker's chunks of the source into ``out``; finished, undamaged shards are kept.

    Rows without a usable image or caption are listed in ``bad.jsonl``. Of a part of the source that cannot be read to
    its end, the complete shards are kept, and the other parts are still encoded.

    Args:
        source: the images.
        out: folder for the shards.
        encoder: VAE, tokenizer and settings.
        worker: this process among those that share the work.
        rows_per_shard: rows of the source that go into one tar.
        command: the command line, which a message about damaged shards names.
        show_progress: whether to show a progress bar.

    Raises:
        InputError: a part could not be read to its end, ``out`` was begun with other settings or cannot be written
            into (a full disk), no row gave a sample, or sizes or columns do not fit. Finished shards stay good.
    """
    with begun(source, out, encoder, rows_per_shard, command) as plan:
        plan.discard_damaged(worker)
        broken = encode_share(source, plan, encoder, worker, show_progress=show_progress)
        encoded = plan.finish()
    if broken:
        raise broken[0]
    return encoded


@contextmanager
def begun(source: ImageSource, out: Path, encoder: Encoder, rows_per_shard: int, command: str) -> Iterator[Plan]:
    """The plan of a folder that the block writes into; arguments and errors are those of ``encode``."""
    settings = _settings(source, encoder, rows_per_shard)
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield Plan.open(out, settings, command)
    except OSError as error:
        raise InputError(
            f"cannot write into {out} ({one_line(error, 300)}); finished shards are good: make room, then run the same "
            "command again"
        ) from error


def _settings(source: ImageSource, encoder: Encoder, rows_per_shard: int) -> Settings:
    encoder.shapes()  # raises before anything is written if the size does not fit
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


def encode_share(
    source: ImageSource, plan: Plan, encoder: Encoder, worker: Worker, *, show_progress: bool
) -> list[InputError]:
    """Encode a worker's remaining chunks; returns the errors of parts that could not be read to their end."""
    broken = []
    remaining = _remaining(source, plan) // worker.count if show_progress and source.rows is not None else None
    with encode_progress(remaining, show_progress) as bar, ThreadPoolExecutor(_READERS) as readers:
        work = _Work(plan, encoder, worker, readers, bar)
        for part in range(source.parts):
            try:
                _encode_part(source, part, work)
            except InputError as error:
                broken.append(error)
            except ConnectionError as error:  # an image that cannot be reached is not bad
                broken.append(InputError(f"{source.name}: {error}; run the same command again"))
    return broken


def _remaining(source: ImageSource, plan: Plan) -> int:
    done = plan.count()
    return max(0, (source.rows or 0) - done.samples - done.bad)


@dataclass(frozen=True)
class _Work:
    plan: Plan
    encoder: Encoder
    worker: Worker
    readers: ThreadPoolExecutor
    bar: Progress


def _encode_part(source: ImageSource, part: int, work: _Work) -> None:
    plan = work.plan
    rows = plan.settings.rows_per_shard
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
    """Write one tar; pictures of each shape are collected until there is a batch of them, or the chunk ends."""
    encoder = work.encoder
    first = chunk * work.plan.settings.rows_per_shard
    waiting = dict[torch.Size, list[tuple[_Read, Tensor]]]()
    with TarShardWriter(work.plan.tar(part, chunk), encoder.latent_space) as writer:
        for read in _read_ahead(samples, first, encoder, work.readers):
            if (picture := read.picture) is None:
                writer.add_bad(read.sample.key, read.row, read.reason)
            else:
                waiting.setdefault(picture.shape, []).append((read, picture))
                if len(waiting[picture.shape]) == encoder.batch:
                    _encode_batch(waiting.pop(picture.shape), part, encoder, writer)
            work.bar.advance(work.bar.task_ids[0])
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
    """Yield samples with decoded pictures from row ``row`` on; while one batch is encoded, threads decode the next."""
    shapes = encoder.shapes()
    numbered = enumerate(samples, row)
    pending = deque[Future[_Read]]()
    while True:
        following = islice(numbered, 2 * encoder.batch - len(pending))
        pending.extend(readers.submit(_read, sample, number, shapes) for number, sample in following)
        if not pending:
            return
        yield pending.popleft().result()


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


def encode_progress(total: int | None, shown: bool) -> Progress:
    """Make a progress bar of one task, on stderr; ``total`` images, None if unknown."""
    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bar = progress(*columns, shown=shown, transient=False)
    bar.add_task("encoding", total=total)
    return bar


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "? images/s", style="progress.data.speed")
