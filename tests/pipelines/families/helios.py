"""Helios, which makes a video chunk by chunk and decodes each, in one size or in several."""

from __future__ import annotations

from typing import Any

from tests.pipelines.families import wan
from tests.pipelines.families.modular_video import CHUNKS, helios_parts, pyramid_parts
from tests.pipelines.families.stepless import Stepless
from tests.pipelines.families.tiny import Tiny

CALL: dict[str, Any] = {**wan.TEXT, **CHUNKS}
DECODED = [
    Tiny("HeliosPipeline", helios_parts, CALL),
    Stepless("HeliosPyramidPipeline", pyramid_parts, {**CALL, "pyramid_num_inference_steps_list": [1, 1, 3]}),
]
