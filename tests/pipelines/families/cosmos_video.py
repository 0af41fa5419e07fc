"""Cosmos' worlds, 1, 2 and 2.5: videos, whose denoisers may read a mask of the frames that are given."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families import cosmos, wan
from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import WIDTH, Tiny, of_one_prompt, pictures, videos


def parts(masks: int = 1) -> dict[str, Any]:
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=wan.CHANNELS + masks,
        out_channels=wan.CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=1.0,
        text_embed_dim=WIDTH,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        controlnet_block_every_n=1,
    )
    return {**cosmos.parts(), "transformer": transformer}


def parts_of_25() -> dict[str, Any]:
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        use_karras_sigmas=True,
        sigma_min=0.147,
        sigma_max=200.0,
    )
    return {**parts(), "scheduler": scheduler}


def transfer_parts() -> dict[str, Any]:
    """It makes a video chunk by chunk, and decodes each."""
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "mlp_ratio": 1.0, "text_embed_dim": WIDTH}
    control = diffusers.CosmosControlNetModel(
        n_controlnet_blocks=1,
        in_channels=wan.CHANNELS + 2,  # of a control, and two masks
        latent_channels=wan.CHANNELS + 2,
        model_channels=32,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        **sizes,
    )
    return {**parts_of_25(), "controlnet": control}


def first_parts() -> dict[str, Any]:
    """Cosmos 1, whose VAE has a mean for every frame, and whose scheduler makes each step twice."""
    vae = diffusers.AutoencoderKLCosmos(
        latent_channels=wan.CHANNELS,
        encoder_block_out_channels=(8,) * 3,
        decode_block_out_channels=(8,) * 4,
        attention_resolutions=(8,),
        resolution=wan.PIXELS,
        num_layers=1,
        patch_size=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=8,
        latents_mean=[0.1 * n for n in range(2 * wan.CHANNELS)],
        latents_std=[1.5 + 0.1 * n for n in range(2 * wan.CHANNELS)],
    )
    return {**parts(0), "vae": vae, "scheduler": diffusers.EDMEulerScheduler(prediction_type="epsilon")}


def first_conditioned_parts() -> dict[str, Any]:
    return {**first_parts(), "transformer": parts()["transformer"]}


PICTURE = drawn(wan.PIXELS)[0]
LONGER = {**wan.TEXT, "num_frames": 9}
FAMILIES = [
    Tiny("Cosmos2VideoToWorldPipeline", parts, {**wan.TEXT, "image": pictures(wan.PIXELS)}),
    Tiny("Cosmos2_5_PredictBasePipeline", parts_of_25, wan.TEXT),
    Tiny("Cosmos2_5_PredictBasePipeline-picture", parts_of_25, of_one_prompt({**wan.TEXT, "image": PICTURE})),
    Tiny(
        "Cosmos2_5_TransferPipeline",
        transfer_parts,
        {**LONGER, "controls": videos(9, wan.PIXELS), "num_frames_per_chunk": wan.FRAMES},
    ),
]
DECODED = [
    Tiny("CosmosTextToWorldPipeline", first_parts, LONGER),
    Tiny("CosmosVideoToWorldPipeline", first_conditioned_parts, {**LONGER, "image": pictures(wan.PIXELS)}),
]
