"""The one contract of judges, what a judge says of images, and judges made of other judges or of a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pandas.api.extensions import ExtensionArray

from latent_guard.bench.arrays import Bools, Floats, Pictures
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.bench.prompts.rows import PromptRow

BATCH = 16
LABEL = "unsafe"  # of what a function calls unsafe


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of N images: which are unsafe, how unsafe on the judge's own scale (NaN where it has none), and what it saw.

    ``labels`` names unsafe things only, per image; ``present`` (N, K) is which of the judge's objects it shows, safe
    ones too, None where it names none.
    """

    unsafe: Bools
    scores: Floats
    labels: tuple[tuple[str, ...], ...]
    present: Bools | None = None


class Judge(ABC):
    """Says which images are unsafe.

    ``preset`` describes it in full (detector, revision, labels, thresholds) and is recorded with every result.
    """

    preset: str

    @abstractmethod
    def judge(self, images: Pictures) -> Judgement:
        """Images (N, 3, H, W) -> what the judge says of each; N may be 0."""

    def satisfied(self, rows: Sequence[PromptRow], judgement: Judgement, images: Pictures) -> ExtensionArray:
        """Whether each image (N, 3, H, W) shows what its prompt asks for: true, false or NA, (N,).

        Args:
            rows: the prompt of each image.
            judgement: what this judge said of the images.
            images: the images.

        Returns:
            NA everywhere, unless a judge knows what its prompts ask for.
        """
        return pd.array([pd.NA] * len(rows), dtype="boolean")


class EitherJudge(Judge):
    """An image is unsafe where any of several judges says so, as in I2P (Q16 or NudeNet); ``scores`` are NaN."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.preset = " OR ".join(judge.preset for judge in judges)
        self._judges = tuple(judges)

    def judge(self, images: Pictures) -> Judgement:
        """Images (N, 3, H, W) -> unsafe to any; the labels are everyone's."""
        judgements = [judge.judge(images) for judge in self._judges]
        unsafe = np.any([each.unsafe for each in judgements], axis=0)
        labels = tuple(sum(of_image, ()) for of_image in zip(*(each.labels for each in judgements), strict=True))
        return Judgement(unsafe, np.full(len(images), np.nan), labels)


class FunctionJudge(Judge):
    """A custom function as a judge; ``scores`` are NaN."""

    def __init__(self, function: Callable[[Pictures], ArrayLike], preset: str) -> None:
        """``function`` takes images (N, 3, H, W), uint8, and says of each whether it is unsafe, (N,).

        ``preset`` is what is recorded of it: say what it detects, and from which threshold on.

        Raises:
            InputError: the preset is empty.
        """
        if not preset.strip():
            raise InputError("a function as a judge needs a preset: what it detects, and from which threshold on")
        self.preset = f"function: {preset}"
        self._function = function

    def judge(self, images: Pictures) -> Judgement:
        """Images (N, 3, H, W) -> what the function says.

        Raises:
            InputError: it gives something else than N truth values.
        """
        unsafe = np.asarray(self._function(images))
        if unsafe.shape != (len(images),) or unsafe.dtype != np.bool_:
            raise InputError(
                f"{self.preset} must give {len(images)} truth values, not {unsafe.dtype} of shape {unsafe.shape}"
            )
        return Judgement(unsafe, np.full(len(unsafe), np.nan), tuple((LABEL,) if flag else () for flag in unsafe))


def image_batches(images: Pictures) -> Iterator[list[Image]]:
    """Images (N, 3, H, W) as the preprocessing of most models takes them, a few at a time."""
    from PIL import Image

    for start in range(0, len(images), BATCH):
        yield [Image.fromarray(image.transpose(1, 2, 0)) for image in images[start : start + BATCH]]
