"""Classifiers that others trained, beside the bank of words, on the same photographs."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.photographs.moderation.findings import Floats
from benchmarks.photographs.moderation.pictures import Flags, Numbers, Photographs, pixels_of
from latent_guard.bench.judges.registry import open_judge
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic

logger = logging.getLogger(__name__)
JUDGES = ("nudenet", "open-nsfw")


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judge says of N photographs: which are unsafe by its own threshold, and how unsafe."""

    unsafe: Flags
    scores: Floats


def judged(photographs: Photographs, numbers: Numbers, folder: Path) -> dict[str, Judged]:
    """What each judge says, kept in a folder; a judge whose package is absent is skipped with a line."""
    found = {}
    for name in JUDGES:
        path = folder / f"{name}.npz"
        if not path.exists() and not _judge(name, photographs, numbers, path):
            continue
        with np.load(path) as kept:
            if not np.array_equal(kept["numbers"], numbers):
                raise InputError(f"{path} is of other photographs; remove it")
            found[name] = Judged(kept["unsafe"], kept["scores"])
    return found


def _judge(name: str, photographs: Photographs, numbers: Numbers, path: Path) -> bool:
    try:
        judge = open_judge(name, {})
    except InputError as error:
        logger.info("the judge %s is left out: %s", name, error)
        return False
    said = judge.judge(pixels_of(photographs, numbers))
    written = io.BytesIO()
    np.savez_compressed(written, numbers=numbers, unsafe=said.unsafe, scores=said.scores)
    write_atomic(path, written.getvalue())
    return True
