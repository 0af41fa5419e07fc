"""LongCat-Image: FLUX.1's latents, of 16 channels always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit
from PIL import Image

from tests.pipelines.families.flux import PIXELS, SIZE, transformer_parts
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, generators, kl

CHANNELS = 16


@dataclass(frozen=True)
class Worded(Tiny):
    """A class that counts its prompts' words even where it is given their embeddings: its text model is replaced."""

    def pipeline(self) -> Any:
        pipe = super().pipeline()
        pipe._encode_prompt = _embeddings
        return pipe


class NoProcessor:
    """Stands for Qwen's processor, of which the pipeline takes the part for pictures."""

    image_processor = None


def _embeddings(prompts: list[str], *_: Any) -> torch.Tensor:
    """Other numbers for every other prompt, (B, tokens, width)."""
    seeds = (sum(prompt.encode()) for prompt in prompts)
    return torch.stack([torch.randn(TOKENS, WIDTH, generator=generator) for generator in generators(*seeds)])


def parts() -> dict[str, Any]:
    own = transformer_parts(
        diffusers.LongCatImageTransformer2DModel, in_channels=4 * CHANNELS, pooled_projection_dim=WIDTH
    )
    return {**own, "vae": kl(CHANNELS, levels=4), "text_processor": NoProcessor()}


FAMILIES = [
    Worded(
        "LongCatImagePipeline",
        parts,
        {
            "prompt": ["a cat", "a dog", "a house"],
            "negative_prompt": ["", "", ""],
            "enable_prompt_rewrite": False,
            **SIZE,
        },
    ),
    # It takes one prompt only.
    Worded(
        "LongCatImageEditPipeline",
        parts,
        {"prompt": "a cat", "image": Image.new("RGB", (PIXELS, PIXELS), (50, 64, 128)), "num_images_per_prompt": 3},
        edits=(pipeline_longcat_image_edit, (PIXELS, PIXELS)),
    ),
]
