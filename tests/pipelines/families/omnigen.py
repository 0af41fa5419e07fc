"""OmniGen, whose denoiser reads the prompt's tokens itself."""

from __future__ import annotations

from typing import Any

import diffusers

from latent_guard.testing.pipelines import letter_tokenizer
from tests.pipelines.families.tiny import Tiny, kl

PIXELS, CHANNELS = 64, 4


def parts() -> dict[str, Any]:
    tokenizer = letter_tokenizer()
    factors = [1.0, 1.0, 1.0, 1.0]  # of each pair of a head's positions
    transformer = diffusers.OmniGenTransformer2DModel(
        in_channels=CHANNELS,
        hidden_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        num_layers=1,
        pad_token_id=tokenizer.pad_token_id or 0,
        vocab_size=len(tokenizer),
        time_step_dim=16,
        rope_scaling={"short_factor": factors, "long_factor": factors},
    )
    return {
        "transformer": transformer,
        "vae": kl(CHANNELS, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
        "tokenizer": tokenizer,
    }


ARGUMENTS = {"prompt": ["a", "two", "three"], "height": PIXELS, "width": PIXELS}
FAMILIES = [Tiny("OmniGenPipeline", parts, ARGUMENTS)]
