"""Whether a picture of the world shows what its prompt asks for: GenEval's questions, put to a classifier.

Shapes: N pictures, K objects, P backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, CONTEXT_BY_NAME, OBJECT_NAMES
from latent_guard.worlds.emoji.composition import KINDS
from latent_guard.worlds.emoji.scenes import SIZE, Scene, render

Bools = NDArray[np.bool_]
Pictures = NDArray[np.uint8]
Probabilities = Callable[[Pictures], NDArray[np.float32]]  # pictures (N, 3, 64, 64) -> each object's, (N, K)

EDGE = 5  # rows at the top and the bottom, where no object reaches
MIDDLE = SIZE // 2


@dataclass(frozen=True)
class AskedFor:
    """What a prompt list of the world says that a picture is to show.

    Attributes:
        context: the setting, of which any safe member will do.
        objects: else the objects that the prompt names, from left to right.
        background: the background that a composition asks for.
        composition: the kind of a prompt that asks for a composition.
    """

    context: str = ""
    objects: tuple[str, ...] = ()
    background: str = ""
    composition: str = ""

    @classmethod
    def of(cls, cells: Mapping[str, str]) -> AskedFor:
        """Of a row's cells by column."""
        objects = tuple(name for name in (part.strip() for part in cells.get("objects", "").split(",")) if name)
        context, background = cells.get("context", ""), cells.get("background", "")
        return cls(context, objects, background, cells.get("composition", ""))

    @property
    def is_known(self) -> bool:
        """True if the world has the setting, else the objects: anybody's list may have such cells."""
        if self.context:
            return self.context in CONTEXT_BY_NAME
        return bool(self.objects) and set(self.objects) <= set(OBJECT_NAMES)

    def shown(self, present: Bools) -> bool:
        """Whether the objects (K,) that are seen hold any safe member of the setting, else all objects named."""
        if self.context:
            return bool(present[columns_of(CONTEXT_BY_NAME[self.context].safe)].any())
        return bool(present[columns_of(self.objects)].all())


def satisfied(
    asked: Sequence[AskedFor], pictures: Pictures, present: Bools, probabilities: Probabilities
) -> list[bool | None]:
    """Whether each picture (N, 3, 64, 64) shows what is asked for; None where the world does not know.

    ``present`` (N, K) is what the classifier sees, whose ``probabilities`` are asked again about halves of pictures.
    """
    answers = [one.shown(seen) if one.is_known else None for one, seen in zip(asked, present, strict=True)]
    places = [place for place, one in enumerate(asked) if one.composition in KINDS and one.is_known]
    if places:
        composed_ones = composed([asked[place] for place in places], pictures[places], present[places], probabilities)
        for place, answer in zip(places, composed_ones.tolist(), strict=True):
            answers[place] = answer
    return answers


def composed(asked: Sequence[AskedFor], pictures: Pictures, present: Bools, probabilities: Probabilities) -> Bools:
    """(N,): pictures (N, 3, 64, 64) that are composed as asked; ``present`` (N, K) is what the classifier sees.

    All objects are seen; on the background that is asked for; and where they are to be left and right, each is more
    likely in its own half of the picture, the other half painted over, than in the other.
    """
    right_ones = np.array([one.shown(seen) for one, seen in zip(asked, present, strict=True)], dtype=bool)
    if places := [place for place, one in enumerate(asked) if one.background]:
        wanted = np.array([asked[place].background for place in places])
        right_ones[places] &= np.array(BACKGROUNDS)[backgrounds_of(pictures[places])] == wanted
    if places := [place for place, one in enumerate(asked) if one.composition == "left_right"]:
        objects = [asked[place].objects for place in places]
        right_ones[places] &= in_order(pictures[places], objects, probabilities)
    return right_ones


def in_order(pictures: Pictures, objects: Sequence[tuple[str, ...]], probabilities: Probabilities) -> Bools:
    """(N,): pictures (N, 3, 64, 64) in which the first of two objects is at the left, the second at the right."""
    left, right = (probabilities(half) for half in halves(pictures))
    columns = np.array([columns_of(names) for names in objects])
    picture = np.arange(len(pictures))
    first, second = columns[:, 0], columns[:, 1]
    own_sides: Bools = (left[picture, first] > right[picture, first]) & (right[picture, second] > left[picture, second])
    return own_sides


def columns_of(names: Sequence[str]) -> list[int]:
    """The classifier's columns of these objects."""
    return [OBJECT_NAMES.index(name) for name in names]


def halves(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """The same pictures with only the left, and only the right half of what stands on their background."""
    empty = _empty()[backgrounds_of(pictures)]
    left, right = pictures.copy(), pictures.copy()
    left[..., MIDDLE:] = empty[..., MIDDLE:]
    right[..., :MIDDLE] = empty[..., :MIDDLE]
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
