"""The rewards that noise is optimised for or chosen by in a comparison, by the names that a spec uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.errors import InputError
from latent_guard.reno import LATENT_CLIP, PIXEL_CLIP, SAFETY
from latent_guard.reno.rewards import LatentClipReward, PixelClipReward, Reward, SafetyReward
from latent_guard.zero_shot.pixel_clip import PixelTwin


def rewards_named(names: str, context: BaselineContext) -> list[Reward]:
    """Rewards of a text such as ``latent-clip`` or, for a sum, ``latent-clip+safety``.

    Raises:
        InputError: an unknown name.
    """
    chosen = [name.strip() for name in names.split("+")]
    if unknown := [name for name in chosen if name not in _MAKE]:
        raise InputError(f"unknown reward {unknown[0]!r}; choose from {', '.join(_MAKE)}, joined by + for a sum")
    return [_MAKE[name](context) for name in chosen]


def _latent_clip(context: BaselineContext) -> Reward:
    return LatentClipReward(context.guard.model, context.guard.canary)


def _pixel_clip(context: BaselineContext) -> Reward:
    return PixelClipReward(PixelTwin(context.twin, "pixel_twin", context.twin.config.vision.size))


def _safety(context: BaselineContext) -> Reward:
    return SafetyReward(context.guard.model, context.guard.bank, context.guard.canary)


_MAKE: Mapping[str, Callable[[Any], Reward]] = {LATENT_CLIP: _latent_clip, PIXEL_CLIP: _pixel_clip, SAFETY: _safety}
