"""Z-Image."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.tiny import TOKENS, WIDTH, Tiny, embeds, kl, masks, pictures

PIXELS, CHANNELS = 64, 16
CONTROL_CHANNELS = 2 * CHANNELS + 1  # of its second ControlNet: a picture, a mask, and what the mask leaves of another
SIZES: dict[str, Any] = {"dim": 32, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}


def parts(**config: Any) -> dict[str, Any]:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=CHANNELS,
        n_layers=1,
        cap_feat_dim=WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
        **SIZES,
        **config,
    )
    return {
        "transformer": transformer,
        "vae": kl(CHANNELS, levels=4),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def controlled_parts() -> dict[str, Any]:
    controlnet = diffusers.ZImageControlNetModel(
        control_layers_places=[0], control_refiner_layers_places=[0], control_in_dim=CONTROL_CHANNELS, **SIZES
    )
    return {**parts(), "controlnet": controlnet}


def omni_parts() -> dict[str, Any]:
    return parts(siglip_feat_dim=WIDTH)


TEXT = {
    "prompt_embeds": list(embeds(TOKENS, WIDTH)),
    "negative_prompt_embeds": list(embeds(TOKENS, WIDTH, seed=1)),
    "height": PIXELS,
    "width": PIXELS,
}
CONTROL = {"control_image": 2 * pictures(PIXELS) - 1}  # taken as it is
# Captions are lists of pieces, between which pictures would stand; these are encoded in bfloat16, whatever the VAE is.
PIECES = {name: [[row] for row in TEXT[name]] for name in ("prompt_embeds", "negative_prompt_embeds")}
FAMILIES = [
    Tiny("ZImagePipeline", parts, TEXT),
    Tiny("ZImageImg2ImgPipeline", parts, {**TEXT, "image": pictures(PIXELS), "strength": 1.0}),
    Tiny(
        "ZImageInpaintPipeline",
        parts,
        {**TEXT, "image": pictures(PIXELS), "mask_image": masks(PIXELS), "strength": 1.0},
    ),
    Tiny("ZImageControlNetPipeline", controlled_parts, {**TEXT, **CONTROL}),
    Tiny(
        "ZImageControlNetInpaintPipeline",
        controlled_parts,
        {**TEXT, **CONTROL, "image": 2 * pictures(PIXELS) - 1, "mask_image": masks(PIXELS)},
    ),
    Tiny("ZImageOmniPipeline", omni_parts, {**TEXT, **PIECES}),
]
