"""FLUX.2's VAE: patches of 2 x 2 latent positions, normalised by the running statistics of a BatchNorm."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from PIL import Image

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, masks, pictures

PIXELS, CHANNELS, LEVELS = 64, 4, 4
CARRIED = 4 * CHANNELS  # numbers of a patch


def kl_flux2() -> Any:
    """A VAE whose every statistic is its own, with an epsilon that shows beside them."""
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8,) * LEVELS,
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        latent_channels=CHANNELS,
        norm_num_groups=4,
        layers_per_block=1,
        batch_norm_eps=0.1,
    )
    vae.bn.running_mean.copy_(torch.linspace(-0.8, 0.7, CARRIED))
    vae.bn.running_var.copy_(torch.linspace(0.3, 1.8, CARRIED))
    return vae


def with_transformer(transformer: Any) -> dict[str, Any]:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return {"transformer": transformer, "vae": kl_flux2(), "scheduler": scheduler}


def parts(guidance_embeds: bool = False) -> dict[str, Any]:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=CARRIED,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    return with_transformer(transformer)


def dev_parts() -> dict[str, Any]:
    return parts(guidance_embeds=True)


def ernie_parts() -> dict[str, Any]:
    transformer = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=CARRIED,
        out_channels=CARRIED,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    # New ones predict 0.
    torch.nn.init.normal_(transformer.adaLN_modulation[-1].weight, std=0.1)
    torch.nn.init.normal_(transformer.final_linear.weight, std=0.1)
    return with_transformer(transformer)


def fibo2_parts() -> dict[str, Any]:
    """It reads two layers of a text encoder: one for its gist of the prompt, one for its only own layer."""
    transformer = diffusers.BriaFibo2Transformer2DModel(
        in_channels=CHANNELS,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        cap_feat_dim=WIDTH,
        injection_layer_ids=(0,),
        perceiver_num_layers=1,
        min_num_gist_tokens=4,
        max_num_gist_tokens=8,
        gist_step=4,
        axes_dims=(4, 6, 6),
        axes_lens=(64, 32, 32),
    )
    return with_transformer(transformer)


def reference(brightness: int) -> Image.Image:
    return Image.new("RGB", (PIXELS, PIXELS), (brightness, 64, 128))


SIZE = {"height": PIXELS, "width": PIXELS}
TEXT = {"prompt_embeds": embeds(TOKENS, WIDTH), **SIZE}
GUIDED = {**TEXT, "negative_prompt_embeds": embeds(TOKENS, WIDTH, seed=1)}
# Pictures that all prompts refer to.
REFERENCES = {"image": [reference(50), reference(200)]}

FAMILIES = [
    Tiny("Flux2Pipeline", dev_parts, TEXT),
    Tiny("Flux2Pipeline-references", dev_parts, {**TEXT, **REFERENCES}),
    Tiny("Flux2KleinPipeline", parts, GUIDED),
    Tiny("Flux2KleinKVPipeline", parts, {**TEXT, **REFERENCES}),
    Tiny(
        "Flux2KleinInpaintPipeline",
        parts,
        {**GUIDED, "image": pictures(PIXELS), "mask_image": masks(PIXELS), "strength": 1.0},
    ),
    Tiny(
        "ErnieImagePipeline",
        ernie_parts,
        {
            "prompt_embeds": list(embeds(TOKENS, WIDTH)),
            "negative_prompt_embeds": list(embeds(TOKENS, WIDTH, seed=1)),
            **SIZE,
        },
    ),
    Tiny(
        "BriaFibo2Pipeline",
        fibo2_parts,
        {
            "prompt_embeds": embeds(2, TOKENS, WIDTH),
            "negative_prompt_embeds": embeds(2, TOKENS, WIDTH, seed=1),
            **SIZE,
        },
    ),
]
