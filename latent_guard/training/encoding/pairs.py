"""Pairs of latents of the same images by two VAEs, to which a ``LatentAdapter`` is fitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.training.encoding.encode import encode_progress
from latent_guard.training.encoding.encoder import Encoder
from latent_guard.training.encoding.images import PictureShape, read_picture
from latent_guard.training.encoding.sources import ImageSource, Sample


@dataclass(frozen=True, eq=False)
class LatentPairs:
    """Raw latents (N, C, H, W) and (N, C', H', W') of the same images; ``unreadable`` counts the images left out."""

    first: Tensor
    second: Tensor
    unreadable: int


def encode_pairs(
    source: ImageSource, first: Encoder, second: Encoder, images: int, *, show_progress: bool = True
) -> LatentPairs:
    """Encode the first ``images`` readable images of a source by both VAEs; captions are not read.

    Raises:
        InputError: no image can be read, the source cannot be read that far, or a VAE cannot encode images of that
            size.
    """
    for encoder in (first, second):
        _check_size(encoder)
    square = PictureShape(first.size, first.size)
    samples = chain.from_iterable(source.samples(part, 0) for part in range(source.parts))
    pairs: list[tuple[Tensor, Tensor]] = []
    read = unreadable = 0
    total = images if source.rows is None else min(images, source.rows)
    with encode_progress(total, show_progress) as progress, ThreadPoolExecutor() as readers:
        while read < images and (batch := list(islice(samples, min(first.batch, images - read)))):
            pictures = readers.map(lambda sample: _picture(sample, square), batch)
            readable = [picture for picture in pictures if picture is not None]
            unreadable += len(batch) - len(readable)
            read += len(readable)
            if readable:
                stacked = torch.stack(readable)
                latents = first.latents(stacked).float()
                second_latents = second.latents(stacked).float()
                finite = latents.flatten(1).isfinite().all(1) & second_latents.flatten(1).isfinite().all(1)
                unreadable += int((~finite).sum())
                pairs.append((latents[finite], second_latents[finite]))
            progress.advance(progress.task_ids[0], len(readable))
    if not pairs:
        raise InputError(f"{source.name} holds no image that can be read; give a folder, tars or parquet of images")
    return LatentPairs(torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]), unreadable)


def _picture(sample: Sample, square: PictureShape) -> Tensor | None:
    try:
        return read_picture(sample.content(), (square,))
    except InputError:
        return None
    except ConnectionError as error:
        raise InputError(f"{error}; run the same command again") from error


def _check_size(encoder: Encoder) -> None:
    space = encoder.latent_space
    if encoder.size % (step := space.factor * space.patch):
        raise InputError(f"the Latent-CLIP reads {encoder.size} pixels a side, and {space} needs a multiple of {step}")
