"""A guard fitted to a user's own pipeline, by prompts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.fitting.prompts import FitPrompts, UnsafePrompt, everyday_prompts, fit_prompts, unsafe_prompts
    from latent_guard.fitting.roles import Role, seeded, split

__all__ = [
    "FitPrompts",
    "Role",
    "UnsafePrompt",
    "everyday_prompts",
    "fit_prompts",
    "seeded",
    "split",
    "unsafe_prompts",
]

_MODULES = {
    "prompts": ("FitPrompts", "UnsafePrompt", "everyday_prompts", "fit_prompts", "unsafe_prompts"),
    "roles": ("Role", "seeded", "split"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
