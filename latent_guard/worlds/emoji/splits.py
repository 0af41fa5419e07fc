"""The combinations and pairings that are held out of training, for tests (and the judge's training) only."""

from __future__ import annotations

from zlib import crc32

from latent_guard.worlds.emoji.catalogue import CONTEXT_BY_NAME
from latent_guard.worlds.emoji.scenes import Scene

HELD_OUT_PERCENT = 20
HELD_OUT_PAIRING_PERCENT = 25


def is_held_out_combination(names: tuple[str, ...], background: str) -> bool:
    """Whether an object pair on a background (in either order) is kept out of training: 20% of all are."""
    return len(names) == 2 and _percentile("combination", *sorted(names), background) < HELD_OUT_PERCENT


def is_held_out_pairing(context: str, partner: str) -> bool:
    """Whether a context is never trained together with this background or companion."""
    return _percentile("pairing", context, partner) < HELD_OUT_PAIRING_PERCENT


def is_held_out(scene: Scene) -> bool:
    """Whether training must skip a scene."""
    if is_held_out_combination(scene.names, scene.background):
        return True
    if scene.context is None or not CONTEXT_BY_NAME[scene.context].is_risky:
        return False
    partners = (scene.background, scene.companion)
    return any(partner is not None and is_held_out_pairing(scene.context, partner) for partner in partners)


def _percentile(*words: str) -> int:
    return crc32("|".join(words).encode()) % 100
