"""How much is measured: at full size, and in a miniature that rehearses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What a call makes: a picture, or a video of several frames, in pixels."""

    height: int
    width: int
    frames: int = 1

    def __str__(self) -> str:
        return f"{self.width} x {self.height}" + (f", {self.frames} frames" if self.frames > 1 else "")


@dataclass(frozen=True)
class Sizes:
    """Everything about a run that is small in the miniature.

    Attributes:
        pictures: of every picture model.
        videos: of every video model.
        steps: of a generation.
        rounds: of generations, at most: a round is one without a guard and one of each guarded kind.
        looks: rounds of a look and a push.
        iterations: of a run of noise optimisation.
        miniature: whether models are small too.
    """

    pictures: tuple[Shape, ...]
    videos: tuple[Shape, ...]
    steps: int
    rounds: int
    looks: int
    iterations: int
    miniature: bool


FULL = Sizes(
    pictures=(Shape(512, 512), Shape(1024, 1024)),
    videos=(Shape(480, 832, 17),),
    steps=8,
    rounds=3,
    looks=20,
    iterations=50,
    miniature=False,
)
MINIATURE = Sizes(
    pictures=(Shape(128, 128),),
    videos=(Shape(64, 96, 5),),
    steps=4,
    rounds=1,
    looks=1,
    iterations=3,
    miniature=True,
)
