"""Tiny modular pipelines of pictures whose classes have no classical twins, or twins that want a text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from tests.pipelines.families import flux2, ideogram4, qwen_image21
from tests.pipelines.families.flux2 import CARRIED, PIXELS, REFERENCES, kl_flux2, with_transformer
from tests.pipelines.families.modular_tiny import TinyModular, wide, without_negative
from tests.pipelines.families.qwen_image import CHANNELS, qwen_vae
from tests.pipelines.families.tiny import BATCH, TOKENS, WIDTH, embeds

VOCABULARY = 10


def flux3_parts(flow_map: bool = False) -> dict[str, Any]:
    """FLUX.3; its blocks bring the scheduler."""
    transformer = diffusers.Flux3Transformer2DModel(
        in_channels=CARRIED,
        cond_in_channels=CARRIED,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        timestep_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        flow_map=flow_map,
    )
    return {"transformer": transformer, "vae": kl_flux2()}


def flux3_distilled_parts() -> dict[str, Any]:
    return flux3_parts(flow_map=True)


def anima_parts() -> dict[str, Any]:
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        text_embed_dim=WIDTH,
        adaln_lora_dim=8,
        max_size=(1, 16, 16),
        extra_pos_embed_type=None,
    )
    conditioner = diffusers.AnimaTextConditioner(
        source_dim=WIDTH,
        target_dim=WIDTH,
        model_dim=WIDTH,
        num_layers=1,
        num_attention_heads=2,
        target_vocab_size=VOCABULARY,
        min_sequence_length=TOKENS,
    )
    return {**with_transformer(transformer), "text_conditioner": conditioner, "vae": qwen_vae()}


@dataclass(frozen=True)
class TinyIdeogram(TinyModular):
    """A tiny pipeline that is told the scale of guidance of each step."""

    def call(self, pipe: Any, **changes: Any) -> Any:
        steps = changes.get("num_inference_steps", self.steps)
        return super().call(pipe, **{"guidance_schedule": (7.0,) * steps, **changes})


GUIDED = wide(flux2.GUIDED)
WORDS = {
    f"{side}{part}": value
    for side, seed in {"": 0, "negative_": 1}.items()
    for part, value in {
        "qwen_prompt_embeds": embeds(TOKENS, WIDTH, seed=seed),
        "qwen_attention_mask": torch.ones(BATCH, TOKENS),
        "t5_input_ids": torch.arange(BATCH * TOKENS).view(BATCH, TOKENS) % VOCABULARY,
        "t5_attention_mask": torch.ones(BATCH, TOKENS),
    }.items()
}
FEATURES = {
    "text_features": embeds(TOKENS, WIDTH * len(ideogram4.READ_LAYERS)),
    "text_lengths": BATCH * [TOKENS],
    "height": ideogram4.HEIGHT,
    "width": ideogram4.WIDTH_IN_PIXELS,
}
NO_PICTURES = torch.zeros(BATCH, TOKENS, dtype=torch.bool)  # among the words of a prompt
JOINT = {
    **{name: value for name, value in qwen_image21.TEXT.items() if name != "true_cfg_scale"},
    "image_pad_mask": NO_PICTURES,
    "negative_image_pad_mask": NO_PICTURES,
}
TEXT = without_negative(GUIDED)
UPSAMPLED = ("prompt_upsampler", "text_encoder")
FAMILIES = [
    TinyModular("Flux3ModularPipeline", flux3_parts, GUIDED, without=UPSAMPLED, latent=False),
    TinyModular(
        "Flux3ModularPipeline-references",
        flux3_parts,
        {**GUIDED, **REFERENCES},
        without=UPSAMPLED,
        latent=False,
    ),
    TinyModular(
        "Flux3DistilledModularPipeline",
        flux3_distilled_parts,
        TEXT,
        without=UPSAMPLED,
        latent=False,
    ),
    TinyIdeogram(
        "Ideogram4ModularPipeline",
        ideogram4.parts,
        FEATURES,
        without=("prompt_upsample", "text_encoder"),
        latent=False,
    ),
    TinyModular("AnimaModularPipeline", anima_parts, {**WORDS, "height": PIXELS, "width": 2 * PIXELS}, latent=False),
    TinyModular("QwenImage21ModularPipeline", qwen_image21.parts, JOINT, latent=False),
    TinyModular("QwenImage21TurboModularPipeline", qwen_image21.parts, without_negative(JOINT), latent=False),
]
