"""Tiny pipelines that are not asked for a number of steps: LTX's and LTX-2's upsamplers make none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.ltx import LTXLatentUpsamplerModel
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel

from latent_guard.pipelines.images import images_of
from tests.pipelines.families import ltx, ltx2
from tests.pipelines.families.tiny import BATCH, Tiny, generators


@dataclass(frozen=True)
class Stepless(Tiny):
    """How to make and call a pipeline whose call has no argument for a number of steps."""

    def call(self, pipe: Any, **changes: Any) -> Any:
        """The images of the call, as arrays unless asked otherwise."""
        own = {"generator": generators(1, 2, 3), "output_type": "np"}
        torch.manual_seed(0)
        return images_of(pipe(**{**own, **self.arguments, **changes}))


SIZES = {"in_channels": ltx.CHANNELS, "mid_channels": 32, "num_blocks_per_stage": 1}


def ltx_parts() -> dict[str, Any]:
    return {"vae": ltx.ltx_vae(), "latent_upsampler": LTXLatentUpsamplerModel(**SIZES)}


def ltx2_parts() -> dict[str, Any]:
    upsampler = LTX2LatentUpsamplerModel(**SIZES, use_rational_resampler=False)
    return {"vae": ltx2.ltx2_vae(), "latent_upsampler": upsampler}


CALL = {
    "latents": torch.randn(BATCH, ltx.CHANNELS, 3, 4, 4, generator=torch.Generator().manual_seed(5)),
    "height": ltx.PIXELS,
    "width": ltx.PIXELS,
}
DECODED = [
    Stepless("LTXLatentUpsamplePipeline", ltx_parts, CALL),
    Stepless("LTX2LatentUpsamplePipeline", ltx2_parts, CALL),
]
