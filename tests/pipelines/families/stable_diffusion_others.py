"""Pipelines of Stable Diffusion that draw after a depth, a picture or its embedding, or that enlarge."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from latent_guard.testing.pipelines import CHANNELS, DDIM, SIDE, _text_encoder, _unet, letter_tokenizer
from tests.pipelines.families.stable_diffusion import PICTURE, PIXELS, REDRAWN, TEXT
from tests.pipelines.families.tiny import WIDTH, Tiny, embeds, kl, pictures, tiny_image_encoder

LEVELS = 128  # of an enlarger's timestep condition, those of noise, which its code knows


def parts(reads: int = CHANNELS, **changes: Any) -> dict[str, Any]:
    return {
        "unet": _unet(reads, **changes),
        "vae": kl(),
        "scheduler": diffusers.DDIMScheduler(**DDIM),
        "image_encoder": tiny_image_encoder(PIXELS),
        "requires_safety_checker": False,
    }


def depth_parts() -> dict[str, Any]:
    return parts(CHANNELS + 1)


def enlarging_parts() -> dict[str, Any]:
    """Its UNet reads the small picture's pixels, and how noisy they were made."""
    return {**parts(CHANNELS + 3, num_class_embeds=1000), "low_res_scheduler": diffusers.DDPMScheduler()}


def latent_enlarging_parts() -> dict[str, Any]:
    """Its UNet reads the small picture's latents, and has a channel of variance that is dropped."""
    own = parts(2 * CHANNELS, out_channels=CHANNELS + 1, time_cond_proj_dim=LEVELS + WIDTH)
    return {**own, "scheduler": diffusers.EulerDiscreteScheduler(prediction_type="sample")}


def unclip_parts() -> dict[str, Any]:
    """Its UNet is told a picture's embedding and that one's noise level."""
    own = parts(class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH)
    return {
        **own,
        "image_normalizer": StableUnCLIPImageNormalizer(WIDTH),
        "image_noising_scheduler": diffusers.DDPMScheduler(),
    }


def prior_parts() -> dict[str, Any]:
    """A prior makes the embedding of a text."""
    tokenizer = letter_tokenizer()
    prior = diffusers.PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        embedding_dim=WIDTH,
        num_embeddings=tokenizer.model_max_length,
    )
    return {
        **unclip_parts(),
        "tokenizer": tokenizer,
        "text_encoder": _text_encoder(CLIPTextModel, tokenizer),
        "prior_tokenizer": tokenizer,
        "prior_text_encoder": _text_encoder(CLIPTextModelWithProjection, tokenizer),
        "prior": prior,
        "prior_scheduler": diffusers.UnCLIPScheduler(prediction_type="sample"),
    }


POOLED = {"pooled_prompt_embeds": embeds(WIDTH), "negative_pooled_prompt_embeds": embeds(WIDTH, seed=1)}
DEPTHS = {"depth_map": pictures(PIXELS)[:, 0]}
PRIOR = {"prompt": ["a", "two", "three"], "prior_num_inference_steps": 2}
DECODED = [
    Tiny("StableDiffusionDepth2ImgPipeline", depth_parts, {**TEXT, **REDRAWN, **DEPTHS}),
    Tiny("StableDiffusionImageVariationPipeline", parts, PICTURE),
    Tiny("StableDiffusionUpscalePipeline", enlarging_parts, {**TEXT, "image": pictures(SIDE)}),
    Tiny(
        "StableDiffusionLatentUpscalePipeline",
        latent_enlarging_parts,
        {**TEXT, **POOLED, "image": pictures(PIXELS // 2)},
    ),
    Tiny("StableUnCLIPImg2ImgPipeline", unclip_parts, {**TEXT, **PICTURE}),
    Tiny("StableUnCLIPPipeline", prior_parts, PRIOR),
]
