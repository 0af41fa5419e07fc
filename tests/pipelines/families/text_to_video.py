"""ModelScope's and Text2Video-Zero's videos, and I2VGen-XL's: their schedulers step frames as if they were pictures."""

from __future__ import annotations

from typing import Any

import diffusers
from transformers import CLIPImageProcessor, CLIPTextModel

from latent_guard.testing.pipelines import CHANNELS, DDIM, _text_encoder, letter_tokenizer
from tests.pipelines.families import stable_diffusion, stable_diffusion_xl
from tests.pipelines.families.stable_diffusion import PIXELS, TEXT
from tests.pipelines.families.tiny import WIDTH, Tiny, kl, of_one_prompt, pictures, tiny_image_encoder, videos

FRAMES = 3
BLOCKS: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,
}


def parts() -> dict[str, Any]:
    return {
        "unet": diffusers.UNet3DConditionModel(**BLOCKS),
        "vae": kl(),
        "scheduler": diffusers.DDIMScheduler(**DDIM),
    }


def picture_parts() -> dict[str, Any]:
    size = {"width": PIXELS, "height": PIXELS}
    return {
        **parts(),
        "unet": diffusers.I2VGenXLUNet(**BLOCKS),
        "image_encoder": tiny_image_encoder(PIXELS),
        "feature_extractor": CLIPImageProcessor(crop_size=size, size=size),
    }


def zero_parts() -> dict[str, Any]:
    """Stable Diffusion's, which is told what its pictures look back at; it takes no embeddings."""
    tokenizer = letter_tokenizer()
    encoder = _text_encoder(CLIPTextModel, tokenizer)
    return {**stable_diffusion.parts(), "tokenizer": tokenizer, "text_encoder": encoder}


SIZE = {"height": PIXELS, "width": PIXELS}
CALL = {**TEXT, **SIZE, "num_frames": FRAMES}
# Its frames part at one of the steps, and are noisy again from another on.
ZERO = {**SIZE, "video_length": FRAMES, "t0": 0, "t1": 1, "generator": None}
DECODED = [
    Tiny("TextToVideoSDPipeline", parts, CALL),
    Tiny("VideoToVideoSDPipeline", parts, of_one_prompt({**TEXT, "video": videos(FRAMES, PIXELS), "strength": 1.0})),
    Tiny("I2VGenXLPipeline", picture_parts, {**CALL, "image": pictures(PIXELS)}),
    Tiny("TextToVideoZeroPipeline", zero_parts, {**ZERO, "prompt": "a cat"}),
    Tiny(
        "TextToVideoZeroSDXLPipeline",
        stable_diffusion_xl.parts,
        {**of_one_prompt(stable_diffusion_xl.POOLED), **ZERO, "prompt": None},
    ),
]
