"""Latent Guard: content safety for latent diffusion, before a pixel is decoded.

Importing this package is cheap: a name below loads its module, and torch with it, when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard import errors
from latent_guard.lazy import lazily
from latent_guard.version import __version__ as __version__

if TYPE_CHECKING:
    from latent_guard import shipped
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.prompt_set import PromptSet
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.guidance.callback import LatentGuardCallback
    from latent_guard.guidance.guard import GuardedOutput, LatentGuard
    from latent_guard.guidance.moderation import Moderator
    from latent_guard.guidance.policy import Policies, Policy
    from latent_guard.guidance.safety_block import SafetyBlock
    from latent_guard.guidance.safety_checker import SafetyChecker
    from latent_guard.guidance.verdict import Decision, Verdict
    from latent_guard.latent_clip.latent_space import LatentSpace
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.reno.optimise import optimise_noise
    from latent_guard.reno.result import OptimisedNoise
    from latent_guard.reno.rewards import FunctionReward, LatentClipReward, PixelClipReward, SafetyReward

__all__ = [
    "AuditLog",
    "ConceptBank",
    "Decision",
    "FunctionReward",
    "GuardedOutput",
    "LatentCLIP",
    "LatentClipReward",
    "LatentGuard",
    "LatentGuardCallback",
    "LatentSpace",
    "Moderator",
    "OptimisedNoise",
    "PixelClipReward",
    "Policies",
    "Policy",
    "PromptSet",
    "SafetyBlock",
    "SafetyChecker",
    "SafetyReward",
    "Verdict",
    "errors",
    "optimise_noise",
    "shipped",
]

_MODULES = {
    "concepts.bank": ("ConceptBank",),
    "concepts.prompt_set": ("PromptSet",),
    "guidance.audit": ("AuditLog",),
    "guidance.callback": ("LatentGuardCallback",),
    "guidance.guard": ("GuardedOutput", "LatentGuard"),
    "guidance.moderation": ("Moderator",),
    "guidance.policy": ("Policies", "Policy"),
    "guidance.safety_block": ("SafetyBlock",),
    "guidance.safety_checker": ("SafetyChecker",),
    "guidance.verdict": ("Decision", "Verdict"),
    "latent_clip.latent_space": ("LatentSpace",),
    "latent_clip.model": ("LatentCLIP",),
    "reno.optimise": ("optimise_noise",),
    "reno.result": ("OptimisedNoise",),
    "reno.rewards": ("FunctionReward", "LatentClipReward", "PixelClipReward", "SafetyReward"),
    "shipped": ("shipped",),
}
__getattr__, _lazy_names = lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted([*_lazy_names(), "__version__", "errors"])
