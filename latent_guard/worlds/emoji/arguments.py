"""The usual arguments of the world's generators: commands, recordings and prompt lists share them."""

from __future__ import annotations

from typing import Any

STEPS = 20
GUIDANCE = 1.5  # guidance scale
FEW_STEPS = 4
ARGUMENTS: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
# The few-step generator is distilled from a guided one, whose guidance is in its weights.
FEW_STEP_ARGUMENTS: dict[str, Any] = {"num_inference_steps": FEW_STEPS, "guidance_scale": 1.0}
FLOW_GUIDANCE = 3.0
# It was trained without T5, whose part of the words is then one empty token.
FLOW_ARGUMENTS: dict[str, Any] = {
    "num_inference_steps": STEPS,
    "guidance_scale": FLOW_GUIDANCE,
    "max_sequence_length": 1,
}
