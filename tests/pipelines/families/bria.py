"""Bria 3.2: FLUX.1's packing, where the pipeline counts a patch as one position of a VAE of twice the factor."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.flux import SIZE, transformer_parts
from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds


def parts() -> dict[str, Any]:
    return transformer_parts(diffusers.BriaTransformer2DModel)


TEXT = {"prompt_embeds": embeds(TOKENS, WIDTH), "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1), **SIZE}
FAMILIES = [Tiny("BriaPipeline", parts, TEXT)]
