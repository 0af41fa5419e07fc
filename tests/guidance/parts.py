"""The parts of which pipelines are built tiny, from configs: 32 px pictures, latents of 4 x 8 x 8, random weights."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPTextConfig, CLIPTokenizer

CHANNELS, SIDE, PIXELS, WIDTH = 4, 8, 32, 16


def vae(scaling_factor: float = 0.5, shift_factor: float | None = None) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=4,
        sample_size=PIXELS,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
    )


def unet(channels: int = CHANNELS, **changes: Any) -> Any:
    arguments = {
        "sample_size": SIDE,
        "in_channels": channels,
        "out_channels": CHANNELS,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return diffusers.UNet2DConditionModel(**{**arguments, **changes})


def clip(kind: Any, layers: int = 1) -> Any:
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return kind(config).eval()


def byte_tokenizer() -> CLIPTokenizer:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=77)
