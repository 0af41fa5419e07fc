"""FIBO and its edits: Wan 2.2's VAE, whose latents are the tokens of the transformer as they are."""

from __future__ import annotations

import json
from typing import Any

import diffusers
from PIL import Image
from transformers import SmolLM3Config, SmolLM3ForCausalLM

from latent_guard.testing.pipelines import letter_tokenizer
from tests.pipelines.families.tiny import BATCH, WIDTH, Tiny

LEVELS, PATCH, CHANNELS = 3, 2, 4  # the pipeline takes a factor of 16 for granted
HEIGHT, WIDTH_IN_PIXELS, SIDE = 64, 96, 32


def wan22_vae() -> Any:
    """A VAE of factor 16: of three levels, on patches of pixels."""
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1] * (LEVELS + 1),
        num_res_blocks=0,
        temperal_downsample=[False] * LEVELS,
        latents_mean=[0.3 * n - 0.5 for n in range(CHANNELS)],
        latents_std=[1.5 + 0.25 * n for n in range(CHANNELS)],
        is_residual=True,
        in_channels=3 * PATCH**2,
        out_channels=3 * PATCH**2,
        patch_size=PATCH,
        scale_factor_spatial=2**LEVELS * PATCH,
    )


def language_model(words: int) -> Any:
    config = SmolLM3Config(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return SmolLM3ForCausalLM(config)


def parts() -> dict[str, Any]:
    transformer = diffusers.BriaFiboTransformer2DModel(
        in_channels=CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        text_encoder_dim=WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    tokenizer = letter_tokenizer()
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": wan22_vae(),
        "text_encoder": language_model(len(tokenizer)),
        "tokenizer": tokenizer,
    }


def reference(brightness: int) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (brightness, 64, 128))


PROMPTS = ["a cat", "a dog", "a house"]
SIZE = {"height": HEIGHT, "width": WIDTH_IN_PIXELS}
# An empty prompt would be read as a token of the real language model.
NEGATIVE = {"negative_prompt": ["blur"] * BATCH}
EDIT = {
    "prompt": [json.dumps({"edit_instruction": prompt}) for prompt in PROMPTS],
    "image": [reference(50), reference(200)],
    "max_sequence_length": 64,
}
FAMILIES = [
    Tiny("BriaFiboPipeline", parts, {"prompt": PROMPTS, **NEGATIVE, **SIZE}),
    Tiny("BriaFiboEditPipeline", parts, {**EDIT, **NEGATIVE, **SIZE}),
]
