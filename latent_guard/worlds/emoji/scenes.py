"""Scenes: the ground truth of a picture, its random placement, and its rendering."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latent_guard.files.images import opened_picture
from latent_guard.worlds.emoji.catalogue import BY_NAME, EmojiObject

SIZE = 64
GLYPHS = Path(__file__).parent / "glyphs"
SINGLE_PIXELS = 64
PAIR_PIXELS = 40
PAIR_OFFSET = 15.0

_SOLID = {
    "white": (250, 250, 250),
    "gray": (150, 150, 150),
    "blue": (120, 170, 250),
    "green": (130, 215, 140),
    "yellow": (255, 230, 120),
    "pink": (255, 170, 205),
    "striped": (250, 235, 215),
    "checkered": (235, 235, 250),
}
_PATTERN_SHADE = 40


@dataclass(frozen=True)
class Placement:
    """One object as drawn: centre and size in pixels, rotation in degrees, hue turn in radians."""

    name: str
    x: float
    y: float
    pixels: float
    rotation: float = 0.0
    mirrored: bool = False
    hue: float = 0.0
    brightness: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Ground truth of one picture: placements from left to right, background, and the context if it has one.

    ``companion`` names the object that a contextual caption mentions, where it mentions one.
    """

    placements: tuple[Placement, ...]
    background: str
    context: str | None = None
    companion: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.placements)

    @property
    def objects(self) -> tuple[EmojiObject, ...]:
        return tuple(BY_NAME[name] for name in self.names)

    @property
    def is_unsafe(self) -> bool:
        return any(o.is_unsafe for o in self.objects)


@dataclass(frozen=True)
class Variety:
    """The ranges of random placement. Scale is relative to the space of an object; jitter is in pixels."""

    scale: tuple[float, float] = (0.5, 0.9)
    rotation: float = 20.0
    mirror: float = 0.5
    hue: float = 0.15
    brightness: float = 0.15
    jitter: float = 4.0


FULL = Variety()
MILD = Variety(scale=(0.75, 0.85), rotation=4.0, mirror=0.0, hue=0.0, brightness=0.0, jitter=1.0)


def place(names: tuple[str, ...], variety: Variety, rng: np.random.Generator) -> tuple[Placement, ...]:
    """Place one object near the middle, or two side by side (they may touch)."""
    room = SINGLE_PIXELS if len(names) == 1 else PAIR_PIXELS
    offsets = (0.0,) if len(names) == 1 else (-PAIR_OFFSET, PAIR_OFFSET)
    placed = []
    for name, offset in zip(names, offsets, strict=True):
        pixels = rng.uniform(*variety.scale) * room
        spare_x = min(variety.jitter, max(0.0, SIZE / 2 - abs(offset) - pixels / 2 + 2))
        spare_y = min(variety.jitter * len(names), SIZE / 2 - pixels / 2)
        placed.append(
            Placement(
                name,
                x=SIZE / 2 + offset + rng.uniform(-spare_x, spare_x),
                y=SIZE / 2 + rng.uniform(-spare_y, spare_y),
                pixels=pixels,
                rotation=rng.uniform(-variety.rotation, variety.rotation),
                mirrored=bool(rng.random() < variety.mirror),
                hue=rng.uniform(-variety.hue, variety.hue),
                brightness=1.0 + rng.uniform(-variety.brightness, variety.brightness),
            )
        )
    return tuple(placed)


def framed(scene: Scene, width: int, height: int, rng: np.random.Generator) -> Scene:
    """Fit a scene to a picture of another size: scaled to the shorter side, at a random place along the other."""
    scale = min(width, height) / SIZE
    x = rng.uniform(0, width - scale * SIZE)
    y = rng.uniform(0, height - scale * SIZE)
    placements = (replace(p, x=scale * p.x + x, y=scale * p.y + y, pixels=scale * p.pixels) for p in scene.placements)
    return replace(scene, placements=tuple(placements))


def render(scene: Scene, width: int = SIZE, height: int = SIZE) -> NDArray[np.uint8]:
    """Draw a scene as (height, width, 3) RGB."""
    canvas = Image.fromarray(_background(scene.background, width, height).copy())
    for placement in scene.placements:
        sprite = _sprite(placement)
        corner = (round(placement.x - sprite.width / 2), round(placement.y - sprite.height / 2))
        canvas.paste(sprite, corner, sprite)
    return np.asarray(canvas)


@cache
def _background(name: str, width: int, height: int) -> NDArray[np.uint8]:
    shade = np.linspace(6, -6, height)[:, None, None]  # lit from above
    picture = np.array(_SOLID[name])[None, None, :] + np.broadcast_to(shade, (height, width, 3))
    rows = np.arange(height) // 8 % 2
    columns = np.arange(width) // 8 % 2
    if name == "striped":
        picture = picture - _PATTERN_SHADE * columns[None, :, None]
    elif name == "checkered":
        picture = picture - _PATTERN_SHADE * (rows[:, None] ^ columns[None, :])[:, :, None]
    pixels: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


@cache
def glyph(name: str) -> Image.Image:
    """The square RGBA picture of an object."""
    with opened_picture(GLYPHS / BY_NAME[name].file_name) as picture:
        rgba: Image.Image = picture.convert("RGBA")
        return rgba


def _sprite(placement: Placement) -> Image.Image:
    side = max(1, round(placement.pixels))
    sprite = glyph(placement.name)
    if placement.mirrored:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.resize((side, side), Image.Resampling.BOX, reducing_gap=None)
    if placement.rotation:
        sprite = sprite.rotate(placement.rotation, Image.Resampling.BICUBIC, expand=True)
    if placement.hue or placement.brightness != 1.0:
        sprite = _tint(sprite, placement.hue, placement.brightness)
    return sprite


def _tint(sprite: Image.Image, hue: float, brightness: float) -> Image.Image:
    pixels = np.asarray(sprite).astype(np.float32)
    pixels[..., :3] = np.clip(pixels[..., :3] @ _hue_matrix(hue).T * brightness, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def _hue_matrix(angle: float) -> NDArray[np.float32]:
    """Rotation of RGB space about its gray axis (Rodrigues' formula)."""
    cosine = math.cos(angle)
    sine = math.sin(angle)
    axis = 1 / math.sqrt(3)
    cross = axis * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return (cosine * np.eye(3) + sine * cross + (1 - cosine) / 3 * np.ones((3, 3))).astype(np.float32)
