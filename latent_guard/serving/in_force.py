"""The guard that judges, and what is known of it because it ran."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from latent_guard.errors import GuardError
from latent_guard.version import __version__

if TYPE_CHECKING:
    from latent_guard.guidance.guard import GuardedOutput, LatentGuard


@dataclass(frozen=True, eq=False)
class InForce:
    """A guard that passed its warm-up.

    Attributes:
        guard: whose bank and policies hold.
        posture: what ``/health/ready`` says of it.
        together: images that are drawn together; 1: each request alone.
    """

    guard: LatentGuard
    posture: Mapping[str, Any]
    together: int = 1


def posture_of(guard: LatentGuard, warm_up: GuardedOutput, steps: int) -> dict[str, Any]:
    """What really ran on the image of a warm-up, and by what it was judged.

    Raises:
        GuardError: the image was not judged at its steps and at its end, so nothing that follows would be.
    """
    (verdict,) = warm_up.verdicts
    at_steps = [check for check in warm_up.checks if check.noise_level > 0]
    policies, bank = guard.policies, guard.bank
    if verdict.decision.value == "unchecked" or not warm_up.checks or verdict.gate != "both":
        raise GuardError("the guard did not judge the image of the warm-up; no image is handed out")
    return {
        "package": __version__,
        "latent_clip": bank.fingerprint,
        "bank": {
            "digest": bank.digest,
            "categories": list(bank.categories),
            "calibrated": bank.calibration is not None,
        },
        "policy": {"name": policies.name, "digest": policies.digest, "on_error": policies.on_error},
        "hooks": {
            "gate": verdict.gate,
            "steps": steps,
            "checks_at_steps": len(at_steps),
            "checks_at_the_end": len(warm_up.checks) - len(at_steps),
        },
        "warm_up": {"decision": verdict.decision.value, "seconds": round(verdict.cost.seconds, 3)},
    }


def weights_of(modules: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each model's weights as they lie in memory, whatever file they came from."""
    return {name: _digest(module) for name, module in modules.items() if isinstance(module, torch.nn.Module)}


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
