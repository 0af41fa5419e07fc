"""The pipeline alone: what every method is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latent_guard.bench.baselines.base import Generated, finished, latents_of_call, none_of
from latent_guard.bench.decoding import counted_rows


class Unguarded:
    """No method at all."""

    name = "unguarded"

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Nothing is asked of the pipeline."""

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt, by the pipeline's own call."""
        with counted_rows(pipe) as count:
            latents = latents_of_call(pipe, prompts, arguments)
        return finished(pipe, latents, count.rows, none_of(len(prompts)))
