"""Noise optimised for a reward, and the best of several noises by the same reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latent_guard.bench.baselines.base import Generated, finished, in_bools
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.options import called
from latent_guard.bench.decoding import counted_rows, unpacked
from latent_guard.errors import InputError
from latent_guard.reno.best_of import best_of
from latent_guard.reno.optimise import AUTHORS, RenoSettings, optimise_noise
from latent_guard.reno.result import OptimisedNoise
from latent_guard.reno.reward_names import LATENT_CLIP, PIXEL_CLIP, SAFETY
from latent_guard.reno.rewards import LatentClipReward, PixelClipReward, Reward, SafetyReward
from latent_guard.reno.search import require_few_step
from latent_guard.zero_shot.pixel_clip import PixelCLIP


@dataclass(frozen=True, eq=False)
class OfFewSteps:
    """A method that works for a few steps alone, and with pipelines whose VAE is that of its rewards."""

    rewards: Sequence[Reward]

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises UnsupportedPipelineError for a scheduler or a VAE that it cannot have, InputError for many steps."""
        require_few_step(pipe.scheduler, steps)
        for reward in self.rewards:
            reward.check(pipe)


@dataclass(frozen=True, eq=False)
class ReNO(OfFewSteps):
    """`optimise_noise`: an image whose first noise stays the best is bit-identical to the unguarded one."""

    settings: RenoSettings = AUTHORS

    @property
    def name(self) -> str:
        own, usual = self.settings, AUTHORS
        changed = {
            name: getattr(own, name)
            for name in ("iterations", "learning_rate", "regularisation", "target")
            if getattr(own, name) != getattr(usual, name)
        }
        return called("reno", "+".join(reward.name for reward in self.rewards), **changed)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt."""
        with counted_rows(pipe) as count:
            found = optimise_noise(pipe, list(prompts), self.rewards, self.settings, **_in_latents(arguments))
        return _generated(pipe, found, arguments, count.rows)


@dataclass(frozen=True, eq=False)
class BestOf(OfFewSteps):
    """`best_of`: as many draws as take the seconds of an optimisation are what it is to be compared with."""

    draws: int = 100

    @property
    def name(self) -> str:
        return called("best-of", "+".join(reward.name for reward in self.rewards), draws=self.draws)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt, the first of its draws being the unguarded one."""
        with counted_rows(pipe) as count:
            found = best_of(pipe, list(prompts), self.rewards, self.draws, **_in_latents(arguments))
        return _generated(pipe, found, arguments, count.rows)


def _in_latents(arguments: dict[str, Any]) -> dict[str, Any]:
    return {**arguments, "output_type": "latent"}


def _generated(pipe: Any, found: OptimisedNoise, arguments: dict[str, Any], rows: int) -> Generated:
    latents = unpacked(pipe, found.images, arguments)
    return finished(pipe, latents, rows, touched=in_bools(found.best_iteration > 0))


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
    return PixelClipReward(PixelCLIP(context.pixel_clip, "pixel_twin", context.pixel_clip.config.vision.size))


def _safety(context: BaselineContext) -> Reward:
    return SafetyReward(context.guard.model, context.guard.bank, context.guard.canary)


_MAKE: Mapping[str, Callable[[Any], Reward]] = {LATENT_CLIP: _latent_clip, PIXEL_CLIP: _pixel_clip, SAFETY: _safety}
