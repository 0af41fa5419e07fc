"""Views of images as models read them: squares of pixels, raw latents, decoded latents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from latent_guard.errors import InputError
from latent_guard.pipelines import vae as autoencoder
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.evaluate import LATENT_CLIP, PIXEL_CLIP, Batch, Skipped
from latent_guard.zero_shot.image_set import ImageRow, ImageSet

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

T = TypeVar("T")
View = Callable[[Sequence["Picture"]], Tensor]


@dataclass(frozen=True)
class Readable:
    """The images of a batch that have a label and could be opened, and the skipped ones."""

    keys: list[str]
    labels: list[int]
    pictures: list[Picture]
    skipped: list[Skipped]


def batches_of_images(images: ImageSet, numbers: Sequence[int], views: dict[str, View], size: int) -> Iterator[Batch]:
    """Batches of images.

    Args:
        images: the data set.
        numbers: the class of each of its labels (``class_numbers``).
        views: make the input of each model, by the model's name.
        size: the largest batch.
    """
    for rows in in_parts(images, size):
        opened = open_rows(rows, numbers)
        shown = {name: view(opened.pictures) for name, view in views.items()} if opened.pictures else {}
        yield Batch(opened.keys, opened.labels, shown, opened.skipped)


def class_numbers(images: ImageSet, classes: ClassSet) -> list[int]:
    """The class of each label number of a set of images.

    Raises:
        InputError: a label that is not one of the classes.
    """
    return classes.numbers_of(images.labels) if images.labels is not None else list(range(len(classes)))


def open_rows(rows: Sequence[ImageRow], numbers: Sequence[int]) -> Readable:
    """Open images, several at once; those without a label and damaged ones are listed as skipped."""
    opened = Readable([], [], [], [])
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        pictures = list(pool.map(_opened, rows))
    for row, picture in zip(rows, pictures, strict=True):
        if row.label is None or row.label >= len(numbers):
            opened.skipped.append(Skipped(row.key, "it has no label that is known"))
        elif isinstance(picture, str):
            opened.skipped.append(Skipped(row.key, picture))
        else:
            opened.keys.append(row.key)
            opened.labels.append(numbers[row.label])
            opened.pictures.append(picture)
    return opened


def _opened(row: ImageRow) -> Picture | str:
    """The image, or the reason why there is none."""
    try:
        return row.picture()
    except InputError as error:
        return str(error)


def square(picture: Picture, side: int) -> Picture:
    """The middle of a picture, side x side: as zero-shot tests crop it since CLIP (shorter side fitted, bicubic)."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)


def squares(pictures: Sequence[Picture], side: int) -> Tensor:
    """(B, 3, side, side) uint8."""
    pixels = np.stack([np.asarray(square(picture, side)) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def pixel_view(side: int) -> View:
    """Pixels in [-1, 1], as the pixel CLIP reads them."""
    return lambda pictures: autoencoder.to_model_range(squares(pictures, side))


def latent_view(vae: Any, side: int) -> View:
    """Raw latents of the squares, as the Latent-CLIP reads them; of a VAE with a posterior, its mode."""
    return lambda pictures: autoencoder.encode(vae, squares(pictures, side))


def decoded(vae: Any, latents: Tensor, side: int) -> Tensor:
    """Pixels (B, 3, side, side) in [-1, 1] of raw latents (B, C, H, W), the middle of what is not square."""
    from torchvision.transforms.functional import center_crop

    whole = autoencoder.decode(vae, latents.to(vae.device)).clamp(-1, 1)
    pixels: Tensor = center_crop(whole, [min(whole.shape[-2:])] * 2)
    if pixels.shape[-2:] == (side, side):
        return pixels
    scaled: Tensor = interpolate(pixels, [side, side], mode="bicubic", antialias=True)
    return scaled.clamp(-1, 1)


def with_decoded(batches: Iterable[Batch], vae: Any, side: int) -> Iterator[Batch]:
    """The batches with a second view, the latents decoded for the pixel CLIP."""
    for batch in batches:
        pixels = {PIXEL_CLIP: decoded(vae, batch.views[LATENT_CLIP], side)} if batch.keys else {}
        yield replace(batch, views={**batch.views, **pixels})


def batches_of_latents(
    latents: Tensor,
    noise_levels: Tensor,
    captions: Sequence[Sequence[str]],
    classes: ClassSet,
    size: int,
    prefix: str = "",
) -> Iterator[Batch]:
    """Batches of raw latents (N, C, H, W), labelled by the caption that names a class; others are skipped.

    A latent's key is its place in the set, after ``prefix``.
    """
    for places in in_parts(range(len(captions)), size):
        found = {place: classes.number_of_caption(captions[place]) for place in places}
        labels = {place: number for place, number in found.items() if number is not None}
        kept = list(labels)
        skipped = [Skipped(f"{prefix}{place}", "no caption names a class") for place in places if place not in labels]
        shown = {LATENT_CLIP: latents[kept].float()} if kept else {}
        yield Batch([f"{prefix}{place}" for place in kept], list(labels.values()), shown, skipped, noise_levels[kept])


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``; the last may be shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
