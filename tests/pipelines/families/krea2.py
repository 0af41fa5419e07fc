"""Krea 2."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.qwen_image import CHANNELS, TEXT, flow, qwen_vae
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds

TEXT_LAYERS = 2


def parts() -> dict[str, Any]:
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=TEXT_LAYERS,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=32,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return {
        "transformer": transformer,
        "vae": qwen_vae(),
        "scheduler": flow(),
        "text_encoder_select_layers": tuple(range(TEXT_LAYERS)),
    }


BY_LAYER = {
    "prompt_embeds": embeds(TOKENS, TEXT_LAYERS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, TEXT_LAYERS, WIDTH, seed=1),
}
FAMILIES = [Tiny("Krea2Pipeline", parts, {**TEXT, **BY_LAYER})]
