"""The few-step generator: its training's maths, its rounding, and that plain diffusers loads what ships."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, LCMScheduler, UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st

from latent_guard.errors import CheckpointError
from latent_guard.worlds.emoji import bundle
from latent_guard.worlds.emoji.distillation import pseudo_huber
from latent_guard.worlds.emoji.rounding import rounded


@given(st.integers(1, 10), st.integers(0, 2**31 - 1), st.floats(1e-3, 1e3))
def test_rounded_weights_are_near_and_have_zeros_where_bits_were(bits: int, seed: int, scale: float) -> None:
    weights = (scale * torch.randn(256, generator=torch.Generator().manual_seed(seed))).half()
    weights = weights[weights.abs() > 6.2e-5]
    found = rounded(weights, bits)
    assert ((found.double() - weights.double()).abs() <= weights.double().abs() * 2.0 ** -(bits + 1)).all()
    assert (found.view(torch.int16) & ((1 << (10 - bits)) - 1) == 0).all()
    assert torch.equal(rounded(found, bits), found)
    assert torch.equal(rounded(-weights, bits), -found)


@given(st.floats(0, 100), st.integers(0, 2**31 - 1))
def test_pseudo_huber_is_nearly_the_distance(distance: float, seed: int) -> None:
    one = torch.randn(3, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    direction = torch.nn.functional.normalize(torch.randn(3, 512), dim=1).view(one.shape)
    found = float(pseudo_huber(one, one + distance * direction))
    c = 0.00054 * 512**0.5
    assert found == pytest.approx((distance**2 + c**2) ** 0.5 - c, abs=1e-4)


def test_plain_diffusers_loads_and_draws_with_what_ships() -> None:
    home = bundle.few_step_folder()
    unet = UNet2DConditionModel.from_pretrained(home / "unet")
    scheduler = LCMScheduler.from_pretrained(home / "scheduler")
    pipe = DiffusionPipeline.from_pretrained(bundle.bundle_folder() / "pipeline", unet=unet, scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)
    for steps in (1, 4):
        images = pipe("a cat", num_inference_steps=steps, guidance_scale=1.0, output_type="pt").images
        assert images.shape == (1, 3, 64, 64)
        assert float(images.std()) > 0.05


def test_altered_weights_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(bundle.FEW_STEP, tmp_path / "few_step")
    monkeypatch.setattr(bundle, "FEW_STEP", tmp_path / "few_step")
    bundle.few_step_folder.cache_clear()
    with open(tmp_path / "few_step" / "unet" / "diffusion_pytorch_model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(CheckpointError, match="not the file that its manifest names"):
        bundle.few_step_folder()
    bundle.few_step_folder.cache_clear()
