"""What passes a VAE's decoder: judged, and masked where a policy says so, before a pixel is made of it.

Shapes: B images, C latent channels, T latent frames, H and W latent positions.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import OnError, RefusalError, guarded
from latent_guard.guidance.final_check import final_outcome
from latent_guard.guidance.outcome import Outcome, blocked, unchecked
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.guidance.watch import OnBlock, OnVerdicts
from latent_guard.pipelines.latents import Decodes, spread
from latent_guard.pipelines.vae import DecoderCall


@dataclass
class DecodeWatch:
    """What was decoded inside one ``with guard.attach(pipe, gate="decode") as watch`` block.

    Attributes:
        decodes: what the pipeline decodes.
        verdicts: one for each picture, or video, that was decoded, in their order; a call that decodes in pieces has
            one for each piece.
        thread: of the pipeline's call under way; None: there is none.
        shapes: of what that call decoded.
    """

    decodes: Decodes
    scorer: Scorer
    policies: Policies
    on_block: OnBlock = "neutral"
    on_error: OnError = "close"
    on_verdicts: OnVerdicts | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    thread: int | None = None
    shapes: list[torch.Size] = field(default_factory=list)
    _inside: bool = False

    def decoding(self, vae: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around ``vae.decode``: what is to be masked is decoded as mid-gray."""
        if self.thread not in (None, threading.get_ident()):
            raise RefusalError("another thread decodes during a guarded call; give each thread its own pipeline")
        call = DecoderCall.of(arguments)
        given = call.latents
        if given is None or not given.is_floating_point() or given.ndim not in (4, 5) or len(given) == 0:
            found = None if given is None else f"{given.dtype} {tuple(given.shape)}"
            raise RefusalError(f"what is to be decoded is {found}, which the guard cannot judge")
        self.shapes.append(given.shape)
        passed = self._passed(given)
        self._inside = True
        try:
            return call.made_with(original, passed)
        finally:
            self._inside = False

    def at_the_decoder(self, *_: Any) -> None:
        """Stands before the decoder's first layer: whoever gets there without ``vae.decode`` was not judged."""
        if not self._inside:
            raise RefusalError("the VAE's decoder was called without `vae.decode`, so nothing was judged")

    def _passed(self, given: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), or (B, C, T, H, W), with those that are to be masked in neutral."""
        outcome = self._judged(given)
        first = len(self.verdicts)
        own = unchecked(first, len(given)) if outcome is None else outcome.verdicts
        verdicts = [replace(verdict, gate="decode") for verdict in own]
        self.verdicts += verdicts
        if self.on_verdicts is not None:
            self.on_verdicts(verdicts)
        if outcome is None or not outcome.masked.any():
            return given
        if self.on_block == "raise":
            raise blocked(verdicts)
        with guarded():
            passed = given.clone()
            passed[outcome.masked.to(given.device)] = spread(self.decodes.neutral_raw, passed)
            return passed

    def _judged(self, given: Tensor) -> Outcome | None:
        """The outcome; None where the guard failed, and the caller had asked to let that go on."""
        outcome = None
        with guarded(self.on_error, "what is decoded goes on unguarded"):
            outcome = final_outcome(self.scorer, given.detach(), self.policies, len(self.verdicts))
        return outcome
