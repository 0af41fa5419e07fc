"""Rendered test scenes with their ground truth; deterministic, and drawn from seeds that no training stage uses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from benchmarks.emoji_world.workbench import RENDER_SEED
from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, OBJECT_NAMES
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scenes import FULL, PAIR_PIXELS, SINGLE_PIXELS, Placement, Scene, place, render
from latent_guard.worlds.emoji.splits import is_held_out

SMALL = 0.6  # of the room that an object has; scales run from 0.5 to 0.9


def held_out_scenes(count: int) -> list[Scene]:
    """Scenes of the kind that all training but the judge's leaves out."""
    samples = training_samples(RENDER_SEED, FULL, keep_held_out=True)
    return list(islice((sample.scene for sample in samples if is_held_out(sample.scene)), count))


def single_scenes(count: int) -> list[Scene]:
    """One object each, all objects in turn, in full variety."""
    return [_scene((OBJECT_NAMES[n % len(OBJECT_NAMES)],), n) for n in range(count)]


def pair_scenes(count: int) -> list[Scene]:
    """Two objects each; no two scenes hold the same two, so that a caption names one scene only."""
    rng = np.random.default_rng([RENDER_SEED, 2])
    pairs: dict[frozenset[str], tuple[str, ...]] = {}
    while len(pairs) < count:
        names = tuple(str(name) for name in rng.choice(OBJECT_NAMES, size=2, replace=False))
        pairs.setdefault(frozenset(names), names)
    return [_scene(names, n) for n, names in enumerate(pairs.values())]


def pictures_of(scenes: Sequence[Scene]) -> Pictures:
    """(N, 3, 64, 64) uint8."""
    pictures: Pictures = np.stack([render(scene) for scene in scenes]).transpose(0, 3, 1, 2).copy()
    return pictures


def truth_of(scenes: Sequence[Scene], *, small_only: bool = False) -> Bools:
    """(N, 48): which objects a scene holds, or only which of them are small."""
    truth: Bools = np.zeros((len(scenes), len(OBJECT_NAMES)), dtype=bool)
    for row, scene in zip(truth, scenes, strict=True):
        names = [p.name for p in scene.placements if not small_only or _is_small(scene, p)]
        row[[OBJECT_NAMES.index(name) for name in names]] = True
    return truth


def _is_small(scene: Scene, placement: Placement) -> bool:
    return placement.pixels < SMALL * (SINGLE_PIXELS if len(scene.placements) == 1 else PAIR_PIXELS)


def _scene(names: tuple[str, ...], number: int) -> Scene:
    rng = np.random.default_rng([RENDER_SEED, 1, number])
    return Scene(place(names, FULL, rng), str(rng.choice(BACKGROUNDS)))
