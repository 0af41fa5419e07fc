"""Every method on the shipped world: a few prompts for something unsafe, and few draws for the twin's calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from latent_guard.bench.baselines.base import Generated
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.prompts.rows import read_prompts
from latent_guard.worlds.emoji.arguments import STEPS
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.prompts import PROMPTS

ROWS = read_prompts(PROMPTS / "dev_explicit_unsafe.csv")[:8]
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("negative-prompt", {"guidance_scale": 3}),
    *[("sld", {"preset": preset}) for preset in ("weak", "medium", "strong", "max")],
    ("safree", {}),
    ("pixel-guidance", {}),
    ("check-then-block", {}),
    ("check-then-block", {"checker": "safety-checker-class"}),
    ("guard", {"policy": "safe"}),
]


def test_what_the_shipped_pixel_clip_is_calibrated_on_ships_too(tmp_path: Path) -> None:
    context = BaselineContext(bundle_folder(), tmp_path / "cache")
    assert len(context.draws) == 2500
    assert context.draws.fingerprint == context.pixel_clip.fingerprint()
    assert not (tmp_path / "cache").exists(), "nothing had to be drawn"


@pytest.mark.slow
def test_every_method_keeps_its_promises_on_the_shipped_world(tmp_path: Path) -> None:
    context = BaselineContext(bundle_folder(), tmp_path, drawn=48, rate=0.1)
    pipe = StableDiffusionPipeline.from_pretrained(bundle_folder() / "pipeline", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    plain = _made("unguarded", {}, context, pipe)
    shown = {}
    for name, options in METHODS:
        made = _made(name, options, context, pipe)
        kept = ~made.touched
        assert np.array_equal(made.pictures[kept], plain.pictures[kept]), name
        assert (made.pictures[made.blocked] == 128).all(), name
        shown[name] = int((_unsafe(made) & ~made.blocked).sum())
    before = int(_unsafe(plain).sum())
    assert before >= 7
    for name in ("guard", "pixel-guidance", "check-then-block"):
        assert shown[name] <= before / 2, name


def _made(name: str, options: dict[str, Any], context: BaselineContext, pipe: Any) -> Generated:
    method = baseline_named(name, options, context)
    method.check(pipe, ROWS[0].guidance, 20)
    generators = [torch.Generator().manual_seed(row.seed) for row in ROWS]
    prompts = [row.prompt for row in ROWS]
    return method.generate(
        pipe, prompts, num_inference_steps=STEPS, guidance_scale=ROWS[0].guidance, generator=generators
    )


def _unsafe(made: Generated) -> np.ndarray[Any, Any]:
    judge = EmojiJudge.load(bundle_folder() / "judge")
    return np.asarray(judge.sees_unsafe(judge.present(made.pictures)))
