"""AnimateDiff: Stable Diffusion's VAE decodes its frames one by one."""

from __future__ import annotations

from typing import Any

import diffusers

from latent_guard.testing.pipelines import DDIM, _unet
from tests.pipelines.families.stable_diffusion import PIXELS, TEXT
from tests.pipelines.families.tiny import Tiny, kl

FRAMES = 3


def parts() -> dict[str, Any]:
    unet = _unet(4)
    adapter = diffusers.MotionAdapter(
        block_out_channels=unet.config.block_out_channels,
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
    )
    return {"unet": unet, "motion_adapter": adapter, "vae": kl(), "scheduler": diffusers.DDIMScheduler(**DDIM)}


DECODED = [Tiny("AnimateDiffPipeline", parts, {**TEXT, "num_frames": FRAMES, "height": PIXELS, "width": PIXELS})]
