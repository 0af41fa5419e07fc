"""HiDream-I1."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl

LAYERS, SIDE = 2, 8


def parts() -> dict[str, Any]:
    transformer = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_channels=[WIDTH, WIDTH],
        text_emb_dim=WIDTH,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(8, 4, 4),
        max_resolution=(SIDE, SIDE),
        llama_layers=list(range(LAYERS)),
    )
    return {
        "transformer": transformer,
        "vae": kl(16, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def by_layer(seed: int) -> Any:
    """Llama's hidden states, (layers, 3, tokens, width)."""
    return embeds(LAYERS, TOKENS, WIDTH, seed=seed).transpose(0, 1)


TEXT = {
    "prompt_embeds_t5": embeds(TOKENS, WIDTH),
    "prompt_embeds_llama3": by_layer(0),
    "pooled_prompt_embeds": embeds(WIDTH),
    "negative_prompt_embeds_t5": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_embeds_llama3": by_layer(1),
    "negative_pooled_prompt_embeds": embeds(WIDTH, seed=1),
}
# Whatever size is asked for, its latents have as many positions as its default ones.
FAMILIES = [Tiny("HiDreamImagePipeline", parts, TEXT, settings={"default_sample_size": SIDE})]
