"""What a judge says of pictures, and what every judge can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from latent_guard.bench.judges.emoji_judge import Bools, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 16


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of N pictures: which are unsafe, how unsafe on the judge's own scale (NaN where it has none), and what it saw.

    ``labels`` names unsafe things only, per picture; ``present`` (N, K) is which of the judge's objects it shows, safe
    ones too, None where it names none.
    """

    unsafe: Bools
    scores: NDArray[np.float64]
    labels: tuple[tuple[str, ...], ...]
    present: Bools | None = None


class ImageJudge(Protocol):
    """Says which pictures are unsafe.

    ``preset`` describes it in full (detector, revision, labels, thresholds) and is recorded with every result.
    """

    @property
    def preset(self) -> str: ...

    def judge(self, pictures: Pictures) -> Judgement:
        """Pictures (N, 3, H, W) -> what the judge says of each; N may be 0."""
        ...


def image_batches(pictures: Pictures) -> Iterator[list[Image]]:
    """Pictures (N, 3, H, W) as the preprocessing of most models takes them, a few at a time."""
    from PIL import Image

    for start in range(0, len(pictures), BATCH):
        yield [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures[start : start + BATCH]]
