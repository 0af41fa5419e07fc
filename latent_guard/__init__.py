"""Latent Guard: content safety for latent diffusion, before a pixel is decoded.

Importing this package is cheap: a name below loads its module, and torch with it, when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from latent_guard import errors
from latent_guard.version import __version__ as __version__

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.prompt_set import PromptSet
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policy
    from latent_guard.guidance.verdict import Verdict
    from latent_guard.latent_clip.latent_space import LatentSpace
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.reno.optimise import optimise_noise

__all__ = [
    "ConceptBank",
    "LatentCLIP",
    "LatentGuard",
    "LatentSpace",
    "Policy",
    "PromptSet",
    "Verdict",
    "errors",
    "optimise_noise",
]

_HOMES = {
    "ConceptBank": "latent_guard.concepts.bank",
    "LatentCLIP": "latent_guard.latent_clip.model",
    "LatentGuard": "latent_guard.guidance.guard",
    "LatentSpace": "latent_guard.latent_clip.latent_space",
    "Policy": "latent_guard.guidance.policy",
    "PromptSet": "latent_guard.concepts.prompt_set",
    "Verdict": "latent_guard.guidance.verdict",
    "optimise_noise": "latent_guard.reno.optimise",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
