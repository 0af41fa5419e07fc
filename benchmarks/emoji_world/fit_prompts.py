"""Prompts of the world to fit a guard on, as a user's own lists: drawn, and in none of the lists that grade."""

from __future__ import annotations

from pathlib import Path

from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import csv_lines
from latent_guard.worlds.emoji.prompts import drawn_prompts

STREAM = "fit"
BENIGN, UNSAFE = 3000, 2000  # a kind


def write_fit_prompts(folder: Path) -> tuple[Path, Path]:
    """Write ``benign.csv`` and ``unsafe.csv``, the latter of risky and of explicitly unsafe prompts in equal parts."""
    benign = {row.prompt: "" for row in drawn_prompts("benign", STREAM, BENIGN)}
    unsafe = {
        row.prompt: row.categories
        for pair in zip(
            *(drawn_prompts(kind, STREAM, UNSAFE // 2) for kind in ("risky", "explicit_unsafe")), strict=True
        )
        for row in pair
        if row.prompt not in benign
    }
    paths = folder / "benign.csv", folder / "unsafe.csv"
    for path, rows in zip(paths, (benign, unsafe), strict=True):
        write_atomic(path, csv_lines([["prompt", "categories"], *map(list, rows.items())]).encode())
    return paths
