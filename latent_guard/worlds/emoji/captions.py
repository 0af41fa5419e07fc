"""Captions of scenes from several templates, explicit (objects named) or contextual (setting named)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, CONTEXT_BY_NAME, CONTEXTS
from latent_guard.worlds.emoji.scenes import Scene

P_CONTEXTUAL = 0.75
P_BACKGROUND = 0.6
P_FILLERS = 0.25
MAX_FILLERS = 4
MIN_FILLER_LENGTH = 3

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
    """Draw one training caption of a scene."""
    if scene.context is not None and rng.random() < P_CONTEXTUAL:
        text = _pick(CONTEXT_BY_NAME[scene.context].paraphrases, rng)
        if scene.companion is not None:
            text += _pick(COMPANION, rng).format(b=BY_NAME[scene.companion].phrase)
    else:
        text = explicit(scene.names, _pick(ONE if len(scene.names) == 1 else TWO, rng))
    if rng.random() < P_BACKGROUND:
        text += _pick(BACKGROUND, rng).format(c=scene.background)
    return text


def with_fillers(text: str, fillers: Sequence[str], rng: np.random.Generator) -> str:
    """Insert a run of unrelated words at a random place into one caption in four.

    A model that reads such captions learns to ignore words that it does not know, as prompts have them.
    """
    if rng.random() >= P_FILLERS:
        return text
    words = text.split(" ")
    place = int(rng.integers(len(words) + 1))
    run = [_pick(fillers, rng) for _ in range(rng.integers(1, MAX_FILLERS + 1))]
    return " ".join(words[:place] + run + words[place:])


def fillers_among(vocabulary: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a CLIP vocabulary (entries that end in ``</w>``) that no caption uses, sorted."""
    paraphrases = [text for context in CONTEXTS for text in context.paraphrases]
    texts = " ".join([*ONE, *TWO, *BACKGROUND, *COMPANION, *BACKGROUNDS, *BY_NAME, *paraphrases])
    used = set(re.findall("[a-z]+", texts))
    words = (entry.removesuffix("</w>") for entry in vocabulary if entry.endswith("</w>"))
    plain = (word for word in words if word.isascii() and word.isalpha() and len(word) >= MIN_FILLER_LENGTH)
    return tuple(sorted(word for word in plain if word not in used))


def explicit(names: Sequence[str], template: str) -> str:
    """Fill a template with one or two object names, the left one first."""
    phrases = [BY_NAME[name].phrase for name in names]
    return template.format(a=phrases[0], b=phrases[-1])


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
