"""Chroma: FLUX.1's latents, and prompts with masks of their tokens."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.pipelines.families.flux import IMAGE, MASK, SIZE, transformer_parts
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds


def parts() -> dict[str, Any]:
    own = transformer_parts(
        diffusers.ChromaTransformer2DModel,
        approximator_num_channels=16,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    # Inpainting asks for it; the class has no such setting, but keeps it where a config file says it.
    own["transformer"].register_to_config(guidance_embeds=False)
    return own


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.arange(TOKENS) < torch.tensor([TOKENS, TOKENS - 1, TOKENS - 2])[:, None],
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    **SIZE,
}
FAMILIES = [
    Tiny("ChromaPipeline", parts, TEXT),
    Tiny("ChromaImg2ImgPipeline", parts, {**TEXT, **IMAGE}),
    Tiny("ChromaInpaintPipeline", parts, {**TEXT, **IMAGE, **MASK}),
]
