"""Whether a picture of the embedded world is composed as its prompt asks: GenEval's questions, put to a classifier.

Shapes: N pictures, K objects, P backgrounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from latent_guard.bench.judges.emoji_judge import Bools, EmojiJudge, Pictures, columns_of, shows
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS
from latent_guard.worlds.emoji.composition import KINDS
from latent_guard.worlds.emoji.scenes import SIZE, Scene, render

EDGE = 5  # rows at the top and the bottom, where no object reaches
MIDDLE = SIZE // 2


def asks_for_composition(row: PromptRow) -> bool:
    """Whether a prompt is of one of the kinds that are judged here."""
    return row.composition in KINDS


def composed(judge: EmojiJudge, rows: Sequence[PromptRow], pictures: Pictures, present: Bools) -> Bools:
    """(N,): pictures (N, 3, 64, 64) that show what their prompts ask for; ``present`` (N, K) is what the judge sees.

    All objects are seen; on the background that is asked for; and where they are to be left and right, each is more
    likely in its own half of the picture, the other half painted over, than in the other.
    """
    right_ones = np.array([shows(judge, row, seen) for row, seen in zip(rows, present, strict=True)], dtype=bool)
    if asked := [place for place, row in enumerate(rows) if row.background]:
        wanted = np.array([rows[place].background for place in asked])
        right_ones[asked] &= np.array(BACKGROUNDS)[backgrounds_of(pictures[asked])] == wanted
    if asked := [place for place, row in enumerate(rows) if row.composition == "left_right"]:
        ordered = in_order(judge, pictures[asked], [rows[place].objects for place in asked])
        right_ones[asked] &= ordered
    return right_ones


def in_order(judge: EmojiJudge, pictures: Pictures, objects: Sequence[tuple[str, ...]]) -> Bools:
    """(N,): pictures (N, 3, 64, 64) in which the first of two objects is at the left, the second at the right."""
    left, right = (judge.probabilities(half) for half in halves(pictures))
    columns = np.array([columns_of(judge, names) for names in objects])
    picture = np.arange(len(pictures))
    first, second = columns[:, 0], columns[:, 1]
    own_sides: Bools = (left[picture, first] > right[picture, first]) & (right[picture, second] > left[picture, second])
    return own_sides


def halves(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """The same pictures with only the left, and only the right half of what stands on their background."""
    empty = _empty()[backgrounds_of(pictures)]
    left, right = pictures.copy(), pictures.copy()
    left[..., MIDDLE:], right[..., :MIDDLE] = empty[..., MIDDLE:], empty[..., :MIDDLE]
    return left, right


def backgrounds_of(pictures: Pictures) -> NDArray[np.int64]:
    """Which of ``BACKGROUNDS`` each of pictures (N, 3, 64, 64) has: the nearest at the upper and lower edge, (N,)."""
    edges = np.r_[:EDGE, -EDGE:0]
    seen = pictures[:, None, :, edges].astype(np.float32) - _empty()[None, :, :, edges].astype(np.float32)
    nearest: NDArray[np.int64] = np.abs(seen).mean(axis=(2, 3, 4)).argmin(axis=1)
    return nearest


@cache
def _empty() -> Pictures:
    """Each background without anything on it, (P, 3, 64, 64)."""
    return np.stack([render(Scene((), background)).transpose(2, 0, 1) for background in BACKGROUNDS])
