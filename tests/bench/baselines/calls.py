"""The same three images by any method: two steps, with guidance, a generator each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latent_guard.bench.baselines.base import Baseline, Generated

PROMPTS = ["a cat", "a pirate party and a drum", "a kitchen knife next to a spoon"]
STEPS = 4


def made_by(method: Baseline, pipe: Any, prompts: list[str] = PROMPTS, **changes: Any) -> Generated:
    arguments = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "generator": generators(len(prompts)), **changes}
    return method.generate(pipe, prompts, **arguments)


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 + image) for image in range(count)]


def same_images(one: Generated, other: Generated) -> np.ndarray[Any, Any]:
    """(B,): bit for bit."""
    assert one.latents is not None
    assert other.latents is not None
    return (one.latents == other.latents).flatten(1).all(dim=1).numpy()
