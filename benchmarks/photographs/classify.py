"""How each trained model classifies the test photographs, kept by photograph: models can be compared in pairs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.photographs.runs import Run
from benchmarks.photographs.shards import encode_test
from benchmarks.photographs.workplace import HELD_OUT, VALIDATION, Workplace
from latent_guard.devices import best_device
from latent_guard.files.atomic import write_atomic
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.in_memory import read_shards
from latent_guard.zero_shot.class_set import read_class_set
from latent_guard.zero_shot.evaluate import LATENT_CLIP, evaluate
from latent_guard.zero_shot.views import batches_of_latents

BATCH = 256
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ranks:
    """Of N photographs in the data's order: their classes, and the five that the model finds most similar (N, 5)."""

    labels: NDArray[np.int64]
    ranked: NDArray[np.int64]

    def hits(self, k: int) -> Flags:
        """Which photographs have their class among the first k."""
        found: Flags = (self.ranked[:, :k] == self.labels[:, None]).any(axis=1)
        return found


def ranks_of(run: Run, place: Workplace) -> Ranks | None:
    """What is kept of a run; None before it was classified."""
    return ranks_named(run.name, place)


def ranks_named(name: str, place: Workplace) -> Ranks | None:
    """What is kept under a name; None before it was classified."""
    path = _path(name, place)
    if not path.exists():
        return None
    with np.load(path) as kept:
        return Ranks(kept["labels"], kept["ranked"])


def classify(run: Run, place: Workplace) -> Ranks:
    """Classify with a trained model, undecoded whatever it reads, and keep the ranks."""
    which = HELD_OUT if run.held_out else VALIDATION
    encode_test(place, run.reads, which)
    return classify_shards(run.folder(place), place.shards(run.reads, which), run.name, place)


def classify_shards(folder: Path, shards: Path, name: str, place: Workplace) -> Ranks:
    """Classify the photographs of shards with the model of a folder, and keep the ranks under a name."""
    if (kept := ranks_named(name, place)) is not None:
        return kept
    data = read_shards([shards])
    classes = read_class_set(place.classes)
    model = LatentCLIP.from_pretrained(folder, device=best_device())
    batches = batches_of_latents(data.latents, data.noise_levels, data.captions, classes, BATCH)
    with torch.inference_mode():
        outcome = evaluate(batches, {LATENT_CLIP: model}, classes).outcomes[LATENT_CLIP]
    written = io.BytesIO()
    np.savez_compressed(written, labels=outcome.labels, ranked=outcome.ranked)
    write_atomic(_path(name, place), written.getvalue())
    return Ranks(outcome.labels, outcome.ranked)


def _path(name: str, place: Workplace) -> Path:
    return place.work / "ranks" / f"{name}.npz"
