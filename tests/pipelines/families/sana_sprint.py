"""Sana-Sprint."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families.sana import PIXELS, SIZES, TEXT, dc
from tests.pipelines.families.tiny import Tiny, pictures

STEPS = 2  # its intermediate timestep is the one between two steps


def parts() -> dict[str, Any]:
    return {
        "transformer": diffusers.SanaTransformer2DModel(**SIZES, guidance_embeds=True),
        "vae": dc(),
        "scheduler": diffusers.SCMScheduler(),
    }


PROMPT = {name: value for name, value in TEXT.items() if not name.startswith("negative")}
FAMILIES = [
    Tiny("SanaSprintPipeline", parts, PROMPT, steps=STEPS),
    Tiny("SanaSprintImg2ImgPipeline", parts, {**PROMPT, "image": pictures(PIXELS), "strength": 1.0}, steps=STEPS),
]
