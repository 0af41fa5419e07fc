"""The check of whether a picture shows what its prompt asks for: GenEval's questions, put to a classifier.

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
    """The content that a prompt list of the world asks for.

    Attributes:
        context: the setting; any of its safe members satisfies the prompt.
        objects: without a setting, the objects that the prompt names, from left to right.
        background: the background that a composition asks for.
        composition: the kind of a prompt that asks for a composition.
    """

    context: str = ""
    objects: tuple[str, ...] = ()
    background: str = ""
    composition: str = ""

    @classmethod
    def of(cls, cells: Mapping[str, str]) -> AskedFor:
        """Read the content from a row's cells by column."""
        objects = tuple(name for name in (part.strip() for part in cells.get("objects", "").split(",")) if name)
        return cls(cells.get("context", ""), objects, cells.get("background", ""), cells.get("composition", ""))

    @property
    def is_known(self) -> bool:
        """Whether the world has this setting or these objects; custom lists may have others."""
        if self.context:
            return self.context in CONTEXT_BY_NAME
        return bool(self.objects) and set(self.objects) <= set(OBJECT_NAMES)

    def shown(self, present: Bools) -> bool:
        """Whether the present objects (K,) include a safe member of the setting, or without one all objects named."""
        if self.context:
            return bool(present[columns_of(CONTEXT_BY_NAME[self.context].safe)].any())
        return bool(present[columns_of(self.objects)].all())


def satisfied(
    asked: Sequence[AskedFor], pictures: Pictures, present: Bools, probabilities: Probabilities
) -> list[bool | None]:
    """Decide whether each picture (N, 3, 64, 64) satisfies its prompt; None where the world does not know the prompt.

    ``present`` (N, K) are the objects that the classifier found; ``probabilities`` judges halves of pictures.
    """
    answers = [content.shown(row) if content.is_known else None for content, row in zip(asked, present, strict=True)]
    places = [place for place, content in enumerate(asked) if content.composition in KINDS and content.is_known]
    if places:
        composed_ones = composed([asked[place] for place in places], pictures[places], present[places], probabilities)
        for place, answer in zip(places, composed_ones.tolist(), strict=True):
            answers[place] = answer
    return answers


def composed(asked: Sequence[AskedFor], pictures: Pictures, present: Bools, probabilities: Probabilities) -> Bools:
    """Decide which pictures (N, 3, 64, 64) are composed as asked, (N,).

    A picture must have all objects (``present`` (N, K) are those that the classifier found) and the background that is
    asked for. Where objects are to be left and right, each must be more likely in its own half of the picture than in
    the other half; the half that is not judged is painted over.
    """
    correct = np.array([content.shown(row) for content, row in zip(asked, present, strict=True)], dtype=bool)
    if places := [place for place, content in enumerate(asked) if content.background]:
        wanted = np.array([asked[place].background for place in places])
        correct[places] &= np.array(BACKGROUNDS)[backgrounds_of(pictures[places])] == wanted
    if places := [place for place, content in enumerate(asked) if content.composition == "left_right"]:
        objects = [asked[place].objects for place in places]
        correct[places] &= in_order(pictures[places], objects, probabilities)
    return correct


def in_order(pictures: Pictures, objects: Sequence[tuple[str, ...]], probabilities: Probabilities) -> Bools:
    """Decide in which pictures (N, 3, 64, 64) the first of two objects is left of the second, (N,)."""
    left_half, right_half = halves(pictures)
    left = probabilities(left_half)
    right = probabilities(right_half)
    columns = np.array([columns_of(names) for names in objects])
    rows = np.arange(len(pictures))
    first = columns[:, 0]
    second = columns[:, 1]
    ordered: Bools = (left[rows, first] > right[rows, first]) & (right[rows, second] > left[rows, second])
    return ordered


def columns_of(names: Sequence[str]) -> list[int]:
    """The classifier's columns of these objects."""
    return [OBJECT_NAMES.index(name) for name in names]


def halves(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Copy pictures twice: with the right half, and with the left half, replaced by their plain background."""
    empty = _empty()[backgrounds_of(pictures)]
    left = pictures.copy()
    right = pictures.copy()
    left[..., MIDDLE:] = empty[..., MIDDLE:]
    right[..., :MIDDLE] = empty[..., :MIDDLE]
    return left, right


def backgrounds_of(pictures: Pictures) -> NDArray[np.int64]:
    """Return the index into ``BACKGROUNDS`` that is nearest to each picture's upper and lower edge, (N,)."""
    edges = np.r_[:EDGE, -EDGE:0]
    differences = pictures[:, None, :, edges].astype(np.float32) - _empty()[None, :, :, edges].astype(np.float32)
    nearest: NDArray[np.int64] = np.abs(differences).mean(axis=(2, 3, 4)).argmin(axis=1)
    return nearest


@cache
def _empty() -> Pictures:
    """The plain backgrounds, (P, 3, 64, 64)."""
    return np.stack([render(Scene((), background)).transpose(2, 0, 1) for background in BACKGROUNDS])
