"""LTX-2, which makes sound beside its videos: the guard judges what `pipe.vae` decodes, and hears nothing."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_hdr_lora import LTX2HDRReferenceCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

from tests.pipelines.families.ltx import CHANNELS, FRAMES, PIXELS, TEXT
from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import WIDTH, Tiny, pictures, videos

HEADS, HEAD_WIDTH = 2, 8
SOUND_CHANNELS, MEL_BINS, MEL_FACTOR, EARS = 4, 8, 4, 2
SOUND_WIDTH = SOUND_CHANNELS * MEL_BINS // MEL_FACTOR  # of one moment's latent


def ltx2_vae() -> Any:
    """Of factor 8, and 2 in time, with numbers that the published ones have among their weights."""
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=CHANNELS,
        block_out_channels=(8,),
        down_block_types=("LTX2VideoDownBlock3D",),
        decoder_block_out_channels=(8,),
        layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatiotemporal",),
        upsample_type=("spatiotemporal",),
        upsample_residual=(True,),
        upsample_factor=(2,),
        patch_size=4,
        scaling_factor=0.7,
        spatial_compression_ratio=8,
        temporal_compression_ratio=2,
    )
    vae.latents_mean.copy_(0.3 * torch.arange(CHANNELS) - 0.5)
    vae.latents_std.copy_(1.5 + 0.25 * torch.arange(CHANNELS))
    return vae


def sound_parts() -> dict[str, Any]:
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=SOUND_WIDTH,
        output_channels=EARS,
        num_res_blocks=1,
        latent_channels=SOUND_CHANNELS,
        mel_bins=MEL_BINS,
    )
    vocoder = LTX2Vocoder(
        in_channels=EARS * MEL_BINS,
        hidden_channels=8,
        out_channels=EARS,
        upsample_kernel_sizes=[4],
        upsample_factors=[2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1]],
    )
    return {"audio_vae": audio_vae, "vocoder": vocoder}


def parts() -> dict[str, Any]:
    connectors = LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=1,
        **{
            f"{kind}_connector_{name}": value
            for kind in ("video", "audio")
            for name, value in {
                "num_attention_heads": HEADS,
                "attention_head_dim": HEAD_WIDTH,
                "num_layers": 1,
                "num_learnable_registers": None,
            }.items()
        },
    )
    sizes: dict[str, Any] = {
        f"{kind}{name}": value
        for kind, channels in {"": CHANNELS, "audio_": SOUND_WIDTH}.items()
        for name, value in {
            "in_channels": channels,
            "out_channels": channels,
            "num_attention_heads": HEADS,
            "attention_head_dim": HEAD_WIDTH,
            "cross_attention_dim": HEADS * HEAD_WIDTH,
        }.items()
    }
    transformer = diffusers.LTX2VideoTransformer3DModel(
        num_layers=1, caption_channels=WIDTH, vae_scale_factors=(2, 8, 8), **sizes
    )
    return {
        **sound_parts(),
        "transformer": transformer,
        "connectors": connectors,
        "vae": ltx2_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    }


UNPERTURBED = {"stg_scale": 0.0, "audio_stg_scale": 0.0, "spatio_temporal_guidance_blocks": None}
CALL = {**TEXT, **UNPERTURBED}
# The second stands beside the frames, as a frame more that is not decoded; so do references.
FIRST, LAST = (LTX2VideoCondition(drawn(PIXELS)[n], index=index, crf=0) for n, index in ((0, 0), (1, -1)))
SEEN = videos(FRAMES, PIXELS)[0]
FAMILIES = [
    Tiny("LTX2Pipeline", parts, CALL),
    Tiny("LTX2ImageToVideoPipeline", parts, {**CALL, "image": pictures(PIXELS), "image_crf": 0}),
    Tiny("LTX2ConditionPipeline", parts, {**CALL, "conditions": [FIRST, LAST]}),
    Tiny("LTX2InContextPipeline", parts, {**CALL, "reference_conditions": LTX2ReferenceCondition(SEEN)}),
    Tiny("LTX2HDRPipeline", parts, {**TEXT, "reference_conditions": LTX2HDRReferenceCondition(SEEN)}),
]
