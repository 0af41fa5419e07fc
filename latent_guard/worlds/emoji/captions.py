"""Captions: several wordings of each scene, explicit (objects named) or contextual (setting named)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latent_guard.worlds.emoji.catalogue import BY_NAME, CONTEXT_BY_NAME
from latent_guard.worlds.emoji.scenes import Scene

P_CONTEXTUAL = 0.75
P_BACKGROUND = 0.6

ONE = ("{a}", "a picture of {a}", "an image of just {a}", "there is {a} here")
TWO = (
    "{a} next to {b}",
    "{a} and {b}",
    "{a} to the left of {b}",
    "a picture of {a} beside {b}",
    "there is {a} and {b} here",
)
BACKGROUND = (" on a {c} background", " in front of a {c} wall", ", {c} background")
COMPANION = (" with {b}", " and {b}")

HELD_OUT_ONE = "a picture of just {a}"
HELD_OUT_TWO = "there is {a} next to {b}"
HELD_OUT_BACKGROUND = " in front of a {c} background"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One training caption of a scene, drawn at random."""
    if scene.context is not None and rng.random() < P_CONTEXTUAL:
        text = _pick(CONTEXT_BY_NAME[scene.context].wordings, rng)
        if scene.companion is not None:
            text += _pick(COMPANION, rng).format(b=BY_NAME[scene.companion].phrase)
    else:
        text = explicit(scene.names, _pick(ONE if len(scene.names) == 1 else TWO, rng))
    if rng.random() < P_BACKGROUND:
        text += _pick(BACKGROUND, rng).format(c=scene.background)
    return text


def explicit(names: Sequence[str], wording: str) -> str:
    """Fill a wording with one or two object names, left one first."""
    phrases = [BY_NAME[name].phrase for name in names]
    return wording.format(a=phrases[0], b=phrases[-1])


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
