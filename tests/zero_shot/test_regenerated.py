from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.vae import encode
from latent_guard.testing.pipelines import CHANNELS, PIXELS, WIDTH
from latent_guard.zero_shot.regenerated import RegenerationSettings, Regenerator
from latent_guard.zero_shot.views import squares
from tests.pipelines.tiny import BY_NAME

SETTINGS = RegenerationSettings(
    "tiny", strength=0.02, steps=50, guidance_scale=None, seed=0, side=PIXELS, batch_size=2
)  # one last step: next to no noise
KEYS, PROMPTS = ["a/0.png", "b/0.png"], ["a cat", "a dog"]


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(256, size=(40, 60, 3), dtype=np.uint8)) for _ in range(2)]


def certain(vae: Any) -> Any:
    """A VAE with large latents, and a posterior of next to no width: what it encodes is its mode."""
    with torch.no_grad():
        vae.quant_conv.weight[:CHANNELS] *= 100
        vae.quant_conv.weight[CHANNELS:] = 0
        vae.quant_conv.bias[CHANNELS:] = -30
    return vae


def embedded(*_: Any, prompt: list[str], **__: Any) -> tuple[torch.Tensor, ...]:
    """What FLUX.1's ``encode_prompt`` gives, for a tiny pipeline without text encoders."""
    return torch.zeros(len(prompt), 3, WIDTH), torch.zeros(len(prompt), WIDTH), torch.zeros(3, 3)


@pytest.mark.parametrize("family", ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline"])
def test_hardly_noised_an_image_is_the_raw_latent_of_its_picture(
    family: str, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import FluxImg2ImgPipeline

    monkeypatch.setattr(FluxImg2ImgPipeline, "encode_prompt", embedded)
    pipe = BY_NAME[family].pipeline(blank=True)
    raw = encode(certain(pipe.vae), squares(pictures, PIXELS))
    regenerated = Regenerator(pipe, SETTINGS).regenerate(pictures, PROMPTS, KEYS)
    assert regenerated.shape == raw.shape
    error, spread = (regenerated - raw).std(), (raw - raw.roll(1, dims=-1)).std()
    assert error < 0.2 * spread


def test_an_image_is_regenerated_alike_whatever_stands_beside_it(pictures: list[Image.Image]) -> None:
    pipe = BY_NAME["StableDiffusionPipeline"].pipeline()
    settings = replace(SETTINGS, strength=0.66, steps=6)
    both = Regenerator(pipe, settings).regenerate(pictures, PROMPTS, KEYS)
    alone = Regenerator(pipe, settings).regenerate(pictures[1:], PROMPTS[1:], KEYS[1:])
    torch.testing.assert_close(alone[0], both[1], atol=1e-4, rtol=1e-4)
    other = Regenerator(pipe, replace(settings, seed=1)).regenerate(pictures[1:], PROMPTS[1:], KEYS[1:])
    assert (other[0] - both[1]).abs().max() > 0.1
    assert (both[0] - both[1]).abs().max() > 0.1


def test_the_class_name_and_strength_decide_what_is_drawn(pictures: list[Image.Image]) -> None:
    pipe = BY_NAME["StableDiffusionPipeline"].pipeline()
    settings = replace(SETTINGS, strength=0.66, steps=6)
    first = Regenerator(pipe, settings).regenerate(pictures, PROMPTS, KEYS)
    assert (first - Regenerator(pipe, settings).regenerate(pictures, PROMPTS[::-1], KEYS)).abs().max() > 1e-4
    assert (
        first - Regenerator(pipe, replace(settings, strength=0.34)).regenerate(pictures, PROMPTS, KEYS)
    ).abs().max() > 1e-2


def test_pipelines_without_an_image_to_image_form_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedPipelineError, match="PixArtSigmaPipeline"):
        Regenerator(BY_NAME["PixArtSigmaPipeline"].pipeline(), SETTINGS)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"strength": 0.0}, "--strength"), ({"strength": 1.5}, "--strength"), ({"steps": 1}, "--steps")],
)
def test_settings_that_draw_nothing_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        replace(SETTINGS, **changes)
