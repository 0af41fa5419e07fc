"""Pixel-CLIP guidance: the same guard, policy and words, but with a CLIP that needs every estimate decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latent_guard.bench.baselines.base import Generated
from latent_guard.bench.baselines.guarded import Changes, check_guardable, guarded_call
from latent_guard.bench.baselines.options import called
from latent_guard.guidance.policy import Policies

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard


@dataclass(frozen=True, eq=False)
class PixelGuidance:
    """At a look the clean estimate is decoded and scored by the pixel CLIP; a push's gradient crosses the decoder.

    All else is Latent Guard's (schedule, thresholds calibrated on the same draws, pushes, what a policy does about an
    image that ends unsafe), so that a difference is the difference between the two CLIPs and their cost. Images that
    no look finds over a threshold are bit-identical to the unguarded ones. After universal guidance (Bansal et al.
    2023), whose forward guidance it is, with pushes of fixed length.

    guard_for  the guard of a pipeline: a `DecodedPixelCLIP` with a bank of its own
    policies   ``steer`` is guidance alone
    """

    guard_for: Callable[[Any], LatentGuard]
    policies: Policies
    changes: Changes = field(default_factory=Changes)

    @property
    def name(self) -> str:
        named = {"strength": self.changes.strength, "trigger": self.changes.trigger}
        return called("pixel-guidance", self.policies.name, **named)

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises UnsupportedPipelineError for what the guard does not know, InputError for an unknown category."""
        check_guardable(self.guard_for(pipe), pipe, self.policies)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt; no verdicts, which are Latent Guard's."""
        policies = self.changes.of(self.policies)
        made = guarded_call(self.guard_for(pipe), pipe, prompts, policies, arguments)
        return Generated(made.latents, made.pictures, made.blocked, made.touched, made.evaluations)
