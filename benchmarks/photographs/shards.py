"""The photographs as shards: what ``latent-guard encode`` makes of them, for each kind of model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.photographs.views import write_classes, write_views
from benchmarks.photographs.workplace import HELD_OUT, VALIDATION, Workplace, latent_guard
from latent_guard.training.data.shards import INDEX

SIDE = 64


def encode_views(place: Workplace, reads: str, views: Iterable[int]) -> None:
    """Encode views of all training photographs that are not encoded yet."""
    for number in views:
        write_views(place, number)
        for part in range(len(place.training)):
            encode(place, reads, place.view(number, part), f"{number}-{part}", "--caption-column", "caption")


def encode_test(place: Workplace, reads: str, which: str) -> None:
    """Encode the validation photographs, or those that the search holds out, captioned by the names of classes."""
    write_classes(place)
    source = {VALIDATION: place.validation, HELD_OUT: place.training[-1]}[which]
    encode(place, reads, source, which, "--caption-column", "label")


def training_shards(place: Workplace, reads: str, views: int, *, held_out: bool) -> list[str]:
    """The folders of so many views; without the last part of the photographs where that is held out."""
    parts = len(place.training) - int(held_out)
    return [str(place.shards(reads, f"{number}-{part}")) for number in range(views) for part in range(parts)]


def encode(place: Workplace, reads: str, source: Path, which: str, *options: str) -> None:
    """Encode one file of pictures, unless that was done."""
    out = place.shards(reads, which)
    if not (out / INDEX).exists():
        latent_guard("encode", source, out, "--vae", place.vae(reads), "--size", str(SIDE), *options)
