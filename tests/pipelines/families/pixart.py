"""PixArt."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from latent_guard.testing.pipelines import CHANNELS, DDIM, PIXELS, _pixart, letter_tokenizer
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds, kl


def parts() -> dict[str, Any]:
    own = _pixart(PIXELS, CHANNELS, letter_tokenizer())
    return {**own, "vae": kl(), "pag_applied_layers": ["blocks.0"]}


def one_step_parts() -> dict[str, Any]:
    """With a scheduler whose one step still leaves some noise in its first answer, unlike in its second."""
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing", set_alpha_to_one=False, **DDIM)
    return {**parts(), "scheduler": scheduler}


TEXT = {
    "negative_prompt": None,  # its default, "", counts as given beside embeds
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_attention_mask": torch.ones(BATCH, TOKENS),
    "use_resolution_binning": False,
}
FAMILIES = [
    Tiny("PixArtAlphaPipeline", parts, TEXT),
    Tiny("PixArtAlphaPipeline-1", one_step_parts, TEXT, steps=1),
    Tiny("PixArtSigmaPipeline", parts, TEXT),
    Tiny("PixArtSigmaPAGPipeline", parts, TEXT),
]
