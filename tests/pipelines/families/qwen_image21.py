"""Qwen-Image 2.1: pictures with transparency, tokens of one latent position, from words and from reference pictures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from PIL import Image
from torch import Tensor

from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, Tiny, embeds

LEVELS, CHANNELS = 4, 8  # the pipeline takes a factor of 16 for granted
HEIGHT, WIDTH_IN_PIXELS = 64, 96
SIDE = 32  # of a reference: 2 x 2 latent positions, which are one place among the words


class Processor:
    """Stands for Qwen's processor, which is asked for the length of its instructions and for the token of a picture."""

    tokenizer = SimpleNamespace(encode=lambda _: [0])

    def apply_chat_template(self, *_: Any, **__: Any) -> list[list[int]]:
        return [[0]]


def with_references(prompts: list[str], references: list[Any] | None, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What the pipeline makes of prompts beside pictures: embeddings, and which of them are real, and pictures."""
    mask = torch.ones(len(prompts), TOKENS, dtype=torch.bool)
    of_pictures = torch.zeros_like(mask)
    of_pictures[:, : len(references or [])] = True
    return embeds(TOKENS, WIDTH), mask, of_pictures


def qwen21_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1] * (LEVELS + 1),
        num_res_blocks=0,
        temperal_downsample=[False] * LEVELS,
        latents_mean=[0.3 * n - 0.5 for n in range(CHANNELS)],
        latents_std=[1.5 + 0.25 * n for n in range(CHANNELS)],
    )


def parts() -> dict[str, Any]:
    transformer = diffusers.QwenImage21Transformer2DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return {"transformer": transformer, "vae": qwen21_vae(), "scheduler": scheduler, "processor": Processor()}


def reference(brightness: int) -> Image.Image:
    return Image.new("RGBA", (SIDE, SIDE), (brightness, 64, 128, 200))


SIZE = {"height": HEIGHT, "width": WIDTH_IN_PIXELS}
TEXT = {
    "prompt_embeds": embeds(TOKENS, WIDTH),
    "prompt_embeds_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1),
    "negative_prompt_embeds_mask": torch.ones(BATCH, TOKENS, dtype=torch.bool),
    "true_cfg_scale": 3.0,
    **SIZE,
}
REFERRING = {
    "prompt": ["a cat", "a dog", "a house"],
    "image": [reference(50), reference(200)],
    "output_resolution": SIDE,
    **SIZE,
}
FAMILIES = [
    Tiny("QwenImage21Pipeline", parts, TEXT),
    Tiny("QwenImage21Pipeline-references", parts, REFERRING, settings={"_get_qwen_prompt_embeds": with_references}),
]
