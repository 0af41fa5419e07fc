"""Check then block: generate, decode, have a checker look at the pixels, and withhold what it calls unsafe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.baselines.base import Generated, finished, grayed, latents_of_call, none_of
from latent_guard.bench.decoding import counted_rows
from latent_guard.pipelines.family_table import space_of_pipeline
from latent_guard.pipelines.vae import gray_latent

GRAY_SIZE = 64


class Checked(Protocol):
    """What a checker answers: of a judgement only this is used."""

    @property
    def unsafe(self) -> Bools: ...


class Checker(Protocol):
    """Looks at finished pictures; every judge is one, and so is a CLIP on pixels with a bank."""

    @property
    def preset(self) -> str: ...

    def judge(self, images: Pictures) -> Checked: ...


@dataclass(frozen=True, eq=False)
class CheckThenBlock:
    """What Stable Diffusion ships with: images that the checker lets pass are the unguarded ones, bit for bit."""

    checker: Checker

    @property
    def name(self) -> str:
        return f"check-then-block({self.checker.preset})"

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Nothing is asked of the pipeline."""

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt; a blocked image's latent is that of a gray picture."""
        with counted_rows(pipe) as count:
            latents = latents_of_call(pipe, prompts, arguments)
        made = finished(pipe, latents, count.rows, none_of(len(prompts)))
        blocked = self.checker.judge(made.pictures).unsafe
        shown = _withheld(pipe, latents, blocked)
        return Generated(shown, grayed(made.pictures, blocked), blocked, blocked, made.evaluations)


def _withheld(pipe: Any, latents: Tensor, blocked: Bools) -> Tensor:
    if not blocked.any():
        return latents
    gray = space_of_pipeline(pipe).from_raw(gray_latent(pipe.vae, latents.device, GRAY_SIZE))
    shown = latents.clone()
    shown[torch.from_numpy(blocked).to(latents.device)] = gray.to(latents)
    return shown
