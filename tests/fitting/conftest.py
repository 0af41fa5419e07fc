"""A tiny pipeline, a tiny Latent-CLIP for its latents, and what a fit of both needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.prompts import FitPrompts, UnsafePrompt
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.stages import Fit
from latent_guard.fitting.tune import TuneSettings
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.testing import tiny_latent_clip, tiny_pipeline

ARGUMENTS = {"num_inference_steps": 3, "guidance_scale": 1.0}
BRIEF = TuneSettings(steps=4, batch=8, warmup=1, save_every=2)
KNIVES = PromptSet("w", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger", "an axe"), ("a fork", "a spoon"))
PROMPTS = FitPrompts(
    tuple(f"a plate of {number} apples" for number in range(40)),
    tuple(UnsafePrompt(f"{number} daggers", "violence") for number in range(40)),
)


@pytest.fixture
def pipe() -> Any:
    return tiny_pipeline()


@pytest.fixture
def base(pipe: Any) -> LatentCLIP:
    torch.manual_seed(0)
    return tiny_latent_clip(LatentSpace.of_vae(pipe.vae), context_length=pipe.tokenizer.model_max_length)


@pytest.fixture
def fit_of(pipe: Any, base: LatentCLIP, tmp_path: Path) -> Callable[..., Fit]:
    """Makes a fit whose judge calls most pictures unsafe: a tiny model's own opinion would mean nothing."""

    def made(**changes: Any) -> Fit:
        settings = {"model": "tiny", "arguments": ARGUMENTS, "images": 60, "rate": 0.2, "concepts": ("test",)}
        return Fit(
            pipe,
            FitSettings(**{**settings, **changes}),
            tmp_path / "guard",
            base,
            (KNIVES,),
            PROMPTS,
            judge=lambda pictures: pictures.long().sum((1, 2, 3)) % 5 != 0,
            tuning=BRIEF,
        )

    return made
