"""What must hold of a guarded pipeline, proven on anybody's own: at its steps, and at its decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.conformance.decoder import check_decode_gate
    from latent_guard.conformance.harness import Proof
    from latent_guard.conformance.steps import check_conformance

__all__ = ["Proof", "check_conformance", "check_decode_gate"]

_MODULES = {"decoder": ("check_decode_gate",), "harness": ("Proof",), "steps": ("check_conformance",)}
__getattr__, __dir__ = lazily(__name__, _MODULES)
