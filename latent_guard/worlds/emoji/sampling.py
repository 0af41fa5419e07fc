"""Random scenes with their captions, deterministic from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, CONTEXTS, OBJECT_NAMES, SAFE_NAMES, Context
from latent_guard.worlds.emoji.scenes import FULL, Scene, Variety, place
from latent_guard.worlds.emoji.splits import is_held_out

P_UNSAFE_IN_RISKY = 0.6
P_CONTEXT = 0.35
P_SINGLE = 0.3
P_COMPANION = 0.3


@dataclass(frozen=True)
class Sample:
    """A scene with one of its captions."""

    scene: Scene
    caption: str


def sample_scene(rng: np.random.Generator, variety: Variety = FULL) -> Scene:
    """Draw a scene with one or two objects, of a context or free."""
    background = str(rng.choice(BACKGROUNDS))
    kind = rng.random()
    if kind < P_CONTEXT:
        return context_scene(CONTEXTS[rng.integers(len(CONTEXTS))], background, rng, variety)
    count = 1 if kind < P_CONTEXT + P_SINGLE else 2
    names = tuple(str(name) for name in rng.choice(OBJECT_NAMES, size=count, replace=False))
    return Scene(place(names, variety, rng), background)


def context_scene(context: Context, background: str, rng: np.random.Generator, variety: Variety = FULL) -> Scene:
    """Draw a scene of a context: an unsafe member with probability 0.6 if it is risky, else safe members."""
    unsafe = context.is_risky and rng.random() < P_UNSAFE_IN_RISKY
    first = str(rng.choice(context.unsafe if unsafe else context.safe))
    companion = None
    names = [first]
    if rng.random() < P_COMPANION:
        companion = str(rng.choice([name for name in SAFE_NAMES if name not in context.safe]))
        names.append(companion)
    elif rng.random() < 0.5:
        names.append(str(rng.choice([name for name in context.safe if name != first])))
    rng.shuffle(names)
    return Scene(place(tuple(names), variety, rng), background, context.name, companion)


def training_samples(seed: int, variety: Variety = FULL, *, keep_held_out: bool = False) -> Iterator[Sample]:
    """Yield samples without end; held-out scenes are skipped unless ``keep_held_out``."""
    index = 0
    while True:
        rng = np.random.default_rng([seed, index])
        index += 1
        scene = sample_scene(rng, variety)
        if keep_held_out or not is_held_out(scene):
            yield Sample(scene, caption(scene, rng))
