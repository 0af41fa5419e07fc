"""Guidance: check the latents of a running diffusion pipeline, push them, judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.guidance.callback import LatentGuardCallback
    from latent_guard.guidance.guard import GuardedOutput, LatentGuard
    from latent_guard.guidance.moderation import Moderator
    from latent_guard.guidance.policy import Policies, Policy
    from latent_guard.guidance.safety_block import SafetyBlock
    from latent_guard.guidance.safety_checker import SafetyChecker
    from latent_guard.guidance.verdict import Decision, Verdict

__all__ = [
    "AuditLog",
    "Decision",
    "GuardedOutput",
    "LatentGuard",
    "LatentGuardCallback",
    "Moderator",
    "Policies",
    "Policy",
    "SafetyBlock",
    "SafetyChecker",
    "Verdict",
]

_MODULES = {
    "audit": ("AuditLog",),
    "callback": ("LatentGuardCallback",),
    "guard": ("GuardedOutput", "LatentGuard"),
    "moderation": ("Moderator",),
    "policy": ("Policies", "Policy"),
    "safety_block": ("SafetyBlock",),
    "safety_checker": ("SafetyChecker",),
    "verdict": ("Decision", "Verdict"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
