"""In half precision pipelines round on their way to the decoder: a benign image is still looked at once at its end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.conformance.harness import NEVER, is_video, known_guard
from latent_guard.guidance.policy import BLOCK, STEER
from latent_guard.pipelines.family_table import KNOWN
from tests.pipelines.families.table import listed
from tests.pipelines.families.tiny import Tiny

# One of each way to scale latents for a decoder: in their own precision, in full, in the VAE's, and by reciprocals.
QUICK = ("StableDiffusionXLPipeline", "FluxPipeline", "Flux2Pipeline", "QwenImagePipeline", "ZImagePipeline")
QUICK += ("WanPipeline", "SanaPipeline", "CogVideoXPipeline", "Flux2KleinModularPipeline")
NOT_HALF = ("Kandinsky5", "LongCat", "QwenImage21Pipeline-references", "LTX2Modular", "LucyEdit")  # mixed there
# They add to a video the frame that it began with, or leave padding out, which no step saw; FIBO 2 rounds by patches.
ONE_MORE = {
    "BriaFibo2Pipeline",
    "CogVideoXPipeline-padded",
    "HunyuanVideoImageToVideoPipeline-replacing",
    "LTXImageToVideoPipeline",
    "LTX2ConditionPipeline",
    "LTX2HDRPipeline",
    "LTX2ImageToVideoPipeline",
    "LTX2InContextPipeline",
    "SanaImageToVideoPipeline",
}
SECTIONS = {name for name, row in KNOWN.items() if row.sections}  # looked at once for each
TRIED = [t for t in listed("FAMILIES") if not t.name.startswith(NOT_HALF) and t.name not in SECTIONS]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("tiny", [tiny for tiny in TRIED if tiny.name in QUICK], ids=lambda tiny: tiny.name)
def test_the_gate_at_the_decoder_costs_a_benign_image_no_look(tiny: Tiny, dtype: torch.dtype) -> None:
    assert final_looks(tiny, dtype) == 1


@pytest.mark.slow
@pytest.mark.parametrize("tiny", [tiny for tiny in TRIED if tiny.name not in QUICK], ids=lambda tiny: tiny.name)
def test_all_others_cost_none_but_those_that_decode_something_else(tiny: Tiny) -> None:
    assert final_looks(tiny, torch.bfloat16) == 1 + (tiny.name in ONE_MORE)


def final_looks(tiny: Tiny, dtype: torch.dtype) -> int:
    pipe = tiny.pipeline()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(dtype)
    texts = {name: rounded(value, dtype) for name, value in tiny.arguments.items() if "embeds" in name}
    guard = known_guard(pipe, NEVER, BLOCK if is_video(pipe) else STEER)
    with guard.attach(pipe) as watch:
        tiny.call(pipe, **texts)
    return sum(check.noise_level == 0 for check in watch.checks)


def rounded(value: Any, dtype: torch.dtype) -> Any:
    """Embeddings, or lists of them, in another precision."""
    if isinstance(value, list):
        return [rounded(item, dtype) for item in value]
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
