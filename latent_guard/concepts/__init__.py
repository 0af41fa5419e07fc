"""Prompt sets (data) and concept banks (their embeddings), the guard's idea of what is unsafe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibration_report import CalibrationReport
    from latent_guard.concepts.conformal import conformal_threshold
    from latent_guard.concepts.prompt_set import PromptSet, read_prompt_sets
    from latent_guard.concepts.sources import prompt_sets_of
    from latent_guard.concepts.texts import Concept

__all__ = [
    "CalibrationReport",
    "Concept",
    "ConceptBank",
    "PromptSet",
    "conformal_threshold",
    "prompt_sets_of",
    "read_prompt_sets",
]

_MODULES = {
    "bank": ("ConceptBank",),
    "calibration_report": ("CalibrationReport",),
    "conformal": ("conformal_threshold",),
    "prompt_set": ("PromptSet", "read_prompt_sets"),
    "sources": ("prompt_sets_of",),
    "texts": ("Concept",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
