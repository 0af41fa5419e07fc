"""Ovis-Image: FLUX.1's latents."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.flux import CARRIED, SIZE, transformer_parts
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds


def parts() -> dict[str, Any]:
    return transformer_parts(diffusers.OvisImageTransformer2DModel, out_channels=CARRIED)


TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt": None,  # its default is a text, which excludes embeddings
    **SIZE,
}
FAMILIES = [Tiny("OvisImagePipeline", parts, TEXT)]
