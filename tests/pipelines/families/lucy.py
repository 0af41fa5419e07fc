"""Lucy, which edits videos: it reads their latents beside its own."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.pipelines.families import wan
from tests.pipelines.families.tiny import Tiny, videos


def parts() -> dict[str, Any]:
    return {**wan.parts(2 * wan.CHANNELS), "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)}


FAMILIES = [Tiny("LucyEditPipeline", parts, {**wan.TEXT, "video": videos(wan.FRAMES, wan.PIXELS)})]
