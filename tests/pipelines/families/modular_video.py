"""Tiny modular pipelines of videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from tests.pipelines.families import hunyuan_video, ltx, ltx2, wan
from tests.pipelines.families.modular_tiny import TinyModular
from tests.pipelines.families.qwen_image import drawn
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, embeds, of_one_prompt

HISTORY = [4, 2, 1]  # latent frames that Helios looks back upon: coarse, finer, finest


def wan22_parts(reads: int = wan.CHANNELS) -> dict[str, Any]:
    """It has a second transformer for the last steps."""
    return {**wan.parts(reads), "transformer_2": wan.parts(reads)["transformer"]}


def wan22_picture_parts() -> dict[str, Any]:
    return wan22_parts(2 * wan.CHANNELS + wan.TEMPORAL)


def wan_picture_parts() -> dict[str, Any]:
    """Its transformer reads what CLIP sees in the first picture, too."""
    transformer = diffusers.WanTransformer3DModel(
        in_channels=2 * wan.CHANNELS + wan.TEMPORAL, image_dim=WIDTH, added_kv_proj_dim=24, **wan.SIZES
    )
    return {**wan.parts(), "transformer": transformer}


def hunyuan_parts() -> dict[str, Any]:
    """Its VAE decodes no more than one video at a time."""
    parts = hunyuan_video.parts_of_15()
    parts["vae"].enable_slicing()
    del parts["guider"]  # the blocks bring one
    return parts


def helios_parts() -> dict[str, Any]:
    transformer = diffusers.HeliosTransformer3DModel(rope_dim=(4, 4, 4), in_channels=wan.CHANNELS, **wan.SIZES)
    scheduler = diffusers.HeliosScheduler(scheduler_type="unipc", stages=1, stage_range=[0, 1])
    return {"transformer": transformer, "vae": wan.wan_vae(), "scheduler": scheduler}


def vace_parts() -> dict[str, Any]:
    return {**wan.vace_parts(), "transformer_2": wan.vace_parts()["transformer"]}


def pyramid_parts() -> dict[str, Any]:
    """Helios of three sizes of latents; its own gamma of 1/3 makes a matrix that has no root in float32."""
    return {**helios_parts(), "scheduler": diffusers.HeliosScheduler(scheduler_type="unipc", gamma=0.25)}


def sound_vae() -> Any:
    """MiniMax-H3's, for two numbers of sound a latent."""
    return diffusers.AutoencoderKLMiniMaxH3Audio(
        encoder_dim=4,
        encoder_rates=(2,),
        latent_dim=8,
        latent_channels=wan.CHANNELS,
        num_attention_heads=1,
        decoder_dim=8,
        decoder_rates=(2,),
        decoder_kernel_sizes=(4,),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1,),),
        sampling_rate=80,
        latents_mean=[0.0] * wan.CHANNELS,
        latents_std=[1.0] * wan.CHANNELS,
    )


def minimax_h3_parts() -> dict[str, Any]:
    """MiniMax-H3, which makes one video with sound, of five seconds or more."""
    transformer = diffusers.MiniMaxH3Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        hidden_size=16,
        num_layers=1,
        num_refiner_layers=1,
        ffn_dim=16,
        in_channels=wan.CHANNELS,
        audio_in_channels=wan.CHANNELS,
        text_dim=WIDTH,
        freq_dim=16,
        time_embed_hidden_dim=16,
        time_embed_dim=8,
        rope_freq_dim=2,
    )
    vae = diffusers.AutoencoderKLMiniMaxH3(
        latent_channels=wan.CHANNELS,
        block_out_channels=(8, 8),
        layers_per_block=1,
        spatial_downsample_factors=(2, 2),
        temporal_downsample_factors=(2, 2),
        norm_num_groups=4,
        decoder_num_layers=1,
        decoder_num_attention_heads=1,
        decoder_attention_head_dim=8,
        decoder_ffn_mult=1,
        latents_mean=[0.3 * n - 0.5 for n in range(wan.CHANNELS)],
        latents_std=[1.5 + 0.25 * n for n in range(wan.CHANNELS)],
    )
    schedulers = {name: diffusers.MiniMaxH3Scheduler() for name in ("scheduler", "audio_scheduler")}
    return {"transformer": transformer, "vae": vae, "audio_vae": sound_vae(), **schedulers}


@dataclass(frozen=True)
class TinyPyramid(TinyModular):
    """A tiny pipeline that is told the steps of each size."""

    def call(self, pipe: Any, **changes: Any) -> Any:
        steps = changes.pop("num_inference_steps", self.steps)
        return super().call(pipe, **{"pyramid_num_inference_steps_list": [1, 1, steps], **changes})


PICTURE = {"image": drawn(wan.PIXELS)[0], "generator": None}  # one for all, which takes no list of generators
IMAGE_EMBEDS = {"image_embeds": embeds(TOKENS, WIDTH, seed=2)}
CHUNKS = {"num_latent_frames_per_chunk": 2, "history_sizes": HISTORY}
CONNECTED = {
    f"{side}{part}": value
    for side, seed in {"": 0, "negative_": 2}.items()
    for part, value in {
        "connector_prompt_embeds": embeds(TOKENS, ltx2.HEADS * ltx2.HEAD_WIDTH, seed=seed),
        "connector_audio_prompt_embeds": embeds(TOKENS, ltx2.HEADS * ltx2.HEAD_WIDTH, seed=seed + 1),
        "connector_attention_mask": torch.ones(BATCH, TOKENS),
    }.items()
}
LTX2_TEXT = {
    **CONNECTED,
    **{name: ltx.TEXT[name] for name in ("height", "width", "num_frames")},
    "batch_size": BATCH,
    "dtype": torch.float32,
}
ONE_WITH_SOUND = {
    "prompt_embeds": embeds(TOKENS, WIDTH)[:1],
    "text_token_tags": torch.ones(TOKENS, dtype=torch.long),
    "height": 16,
    "width": 16,
    "num_frames": 124,
    "generator": None,
}
FAMILIES = [
    TinyModular("WanModularPipeline", wan.parts, wan.TEXT, output="videos", latent=False),
    TinyModular(
        "WanImage2VideoModularPipeline",
        wan_picture_parts,
        {**wan.TEXT, **IMAGE_EMBEDS, **PICTURE},
        output="videos",
        without=("text_encoder", "image_encoder"),
        latent=False,
    ),
    TinyModular("Wan22ModularPipeline", wan22_parts, wan.TEXT, output="videos", latent=False),
    TinyModular(
        "Wan22Image2VideoModularPipeline",
        wan22_picture_parts,
        {**wan.TEXT, **PICTURE},
        output="videos",
        latent=False,
    ),
    TinyModular("LTXModularPipeline", ltx.parts, ltx.TEXT, output="videos", latent=False),
    TinyModular(
        "LTX2ModularPipeline",
        ltx2.parts,
        LTX2_TEXT,
        output="videos",
        without=("prompt_enhancer", "text_encoder"),
    ),
    TinyModular(
        "HunyuanVideo15ModularPipeline",
        hunyuan_parts,
        {**hunyuan_video.TEXT_OF_15, "batch_size": BATCH},
        output="videos",
        latent=False,
    ),
    TinyModular(
        "Wan22VaceModularPipeline",
        vace_parts,
        of_one_prompt(wan.TEXT),
        output="videos",
        latent=False,
    ),
    TinyModular("MiniMaxH3ModularPipeline", minimax_h3_parts, ONE_WITH_SOUND, output="videos", latent=False),
]
DECODED = [
    TinyModular("HeliosModularPipeline", helios_parts, {**wan.TEXT, **CHUNKS}, output="videos", latent=False),
    TinyPyramid("HeliosPyramidModularPipeline", pyramid_parts, {**wan.TEXT, **CHUNKS}, output="videos", latent=False),
]
