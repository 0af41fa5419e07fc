"""What must hold of the gate at the decoder alone, on any pipeline whose VAE is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from latent_guard.conformance.harness import (
    ALWAYS,
    NEVER,
    Call,
    Proof,
    decoded_by,
    known_guard,
    tolerance,
)
from latent_guard.conformance.known import KnownLatentCLIP
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.latents import Decodes


def check_decode_gate(pipe: Any, call: Call) -> list[Proof]:
    """The proofs of the gate at the decoder alone, on any pipeline whose VAE is known; as ``check_conformance``."""
    proofs: tuple[Callable[[Any, Call], str], ...] = (
        _a_decode_gate_that_never_acts_changes_nothing,
        _what_the_decode_gate_blocks_is_decoded_from_gray,
    )
    return [Proof(proof.__name__.strip("_").replace("_", " "), proof(pipe, call)) for proof in proofs]


def _a_decode_gate_that_never_acts_changes_nothing(pipe: Any, call: Call) -> str:
    plain = call(pipe)
    critic = KnownLatentCLIP(LatentSpace.of_vae(pipe.vae))
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, BLOCK, critic).attach(pipe, gate="decode") as watch:
        guarded = call(pipe)
    if not watch.verdicts or {verdict.gate for verdict in watch.verdicts} != {"decode"}:
        return f"the verdicts were {watch.verdicts}"
    if critic.seen is None or not given:
        return "nothing was seen, or nothing decoded"
    return "" if np.array_equal(plain, guarded) else "the images are others"


def _what_the_decode_gate_blocks_is_decoded_from_gray(pipe: Any, call: Call) -> str:
    gray = Decodes.of(pipe, LatentSpace.of_vae(pipe.vae), None).neutral_raw
    with decoded_by(pipe) as given, known_guard(pipe, ALWAYS, BLOCK).attach(pipe, gate="decode") as watch:
        call(pipe)
    if {verdict.decision for verdict in watch.verdicts} != {Decision.BLOCKED}:
        return f"decisions were {[verdict.decision.value for verdict in watch.verdicts]}"
    error = max(float((raw - gray.to(raw)).abs().max()) for raw in given)
    return "" if error < 10 * tolerance(pipe) * (1 + float(gray.abs().max())) else f"off gray by {error:.2g}"
