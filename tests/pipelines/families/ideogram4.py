"""Ideogram 4: FLUX.2's VAE, tokens whose numbers run through positions first, and a second transformer."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers.pipelines.ideogram4.pipeline_ideogram4 import QWEN3_VL_ACTIVATION_LAYERS as READ_LAYERS
from torch import Tensor

from latent_guard.testing.pipelines import letter_tokenizer
from tests.pipelines.families.bria_fibo import language_model
from tests.pipelines.families.flux2 import CARRIED, kl_flux2
from tests.pipelines.families.tiny import WIDTH, Tiny

HEIGHT, WIDTH_IN_PIXELS, LETTERS = 64, 96, 24


def read_layers(language_model: Any, ids: Tensor, *_: Any) -> list[Tensor]:
    """Stands for what the pipeline reads of its language model, (B, letters, WIDTH) each: here, of none of its layers.

    The real one has 36 of them.
    """
    return [language_model.get_input_embeddings()(ids)] * len(READ_LAYERS)


def transformer() -> Any:
    return diffusers.Ideogram4Transformer2DModel(
        in_channels=CARRIED,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=32,
        adaln_dim=16,
        llm_features_dim=WIDTH * len(READ_LAYERS),
        mrope_section=(4, 2, 2),
    )


def parts() -> dict[str, Any]:
    tokenizer = letter_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content[0].text }}"
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": kl_flux2(),
        "tokenizer": tokenizer,
        "text_encoder": language_model(len(tokenizer)),
        "transformer": transformer(),
        "unconditional_transformer": transformer(),
    }


TEXT = {
    "prompt": ["a cat", "a dog", "a house"],
    "height": HEIGHT,
    "width": WIDTH_IN_PIXELS,
    "guidance_scale": 3.0,
    "guidance_schedule": None,
    "max_sequence_length": LETTERS,
}
FAMILIES = [
    Tiny("Ideogram4Pipeline", parts, TEXT, settings={"_get_text_encoder_hidden_states": read_layers}),
]
