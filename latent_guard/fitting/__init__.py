"""A guard fitted to a user's own pipeline, by prompts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.fitting.prompts import FitPrompts, UnsafePrompt, everyday_prompts, fit_prompts, unsafe_prompts
    from latent_guard.fitting.roles import Role, seeded, split
    from latent_guard.fitting.settings import FitSettings
    from latent_guard.fitting.stages import Fit, fit
    from latent_guard.fitting.verify import Verification

__all__ = [
    "Fit",
    "FitPrompts",
    "FitSettings",
    "Role",
    "UnsafePrompt",
    "Verification",
    "everyday_prompts",
    "fit",
    "fit_prompts",
    "seeded",
    "split",
    "unsafe_prompts",
]

_MODULES = {
    "prompts": ("FitPrompts", "UnsafePrompt", "everyday_prompts", "fit_prompts", "unsafe_prompts"),
    "roles": ("Role", "seeded", "split"),
    "settings": ("FitSettings",),
    "stages": ("Fit", "fit"),
    "verify": ("Verification",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
