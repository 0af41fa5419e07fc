"""A pipeline's models in latents of another scale are the same models of the same pictures."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.adapter import AdapterConfig, LatentAdapter
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.vae import decode, encode
from latent_guard.testing import tiny_latent_clip, tiny_pipeline
from latent_guard.testing.pipelines import CHANNELS, PIXELS, tiny_vae
from latent_guard.testing.rescaling import rescaled, rescaled_guard
from tests.testing.guarded import BY_CHANNEL, bank_of

PICTURES = torch.randint(256, (2, 3, PIXELS, PIXELS), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
ALIKE, EACH = (7.677,) * CHANNELS, (0.13, 7.677, 40.0, 1.5)


def vae_with(**changes: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(**{**dict(tiny_vae(0.5).config), **changes}).eval()


VAES = {
    "SD": (lambda: tiny_vae(0.5), ALIKE),
    "shifted": (lambda: tiny_vae(1.5, 0.06), ALIKE),
    "SD3, without convolutions between": (
        lambda: vae_with(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        ALIKE,
    ),
    "by channel": (lambda: vae_with(**BY_CHANNEL), EACH),
    "by channel, times one factor": (lambda: vae_with(**BY_CHANNEL), ALIKE),
}


@pytest.mark.parametrize("name", VAES)
def test_raw_latents_are_multiplied_and_nothing_else_changes(name: str) -> None:
    build, factors = VAES[name]
    pipe = tiny_pipeline()
    pipe.vae = build()
    twin = rescaled(pipe, factors)
    raw, other = encode(pipe.vae, PICTURES), encode(twin.vae, PICTURES)
    by_channel = torch.tensor(factors)[:, None, None]
    torch.testing.assert_close(other, raw * by_channel, rtol=1e-4, atol=1e-5)
    space, other_space = LatentSpace.of_vae(pipe.vae), LatentSpace.of_vae(twin.vae)
    torch.testing.assert_close(other_space.from_raw(other), space.from_raw(raw), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decode(twin.vae, other), decode(pipe.vae, raw), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        spread, other_spread = (vae.encode(PICTURES.float()).latent_dist.std for vae in (pipe.vae, twin.vae))
    torch.testing.assert_close(other_spread, spread * by_channel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [None, 0.0, 0.06])
def test_a_shift_that_is_a_number_stays_one(shift: float | None) -> None:
    """Stable Diffusion 3's pipeline adds it, and None is no number."""
    pipe = tiny_pipeline()
    pipe.vae = vae_with(shift_factor=shift)
    found = rescaled(pipe, ALIKE).vae.config.shift_factor
    assert (found is None) == (shift is None)
    assert found is None or found == pytest.approx(7.677 * (shift or 0.0))


@pytest.mark.parametrize("width", [None, 0, 8], ids=["its own latents", "a linear adapter", "a deep adapter"])
def test_a_guard_says_the_same_of_them(width: int | None) -> None:
    pipe = tiny_pipeline()
    space = LatentSpace.of_vae(pipe.vae)
    model = tiny_latent_clip(space)
    if width is not None:
        adapter = LatentAdapter(AdapterConfig(space, space, width))
        for weight in adapter.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        model = model.adapted(adapter)
    guard = LatentGuard(model, bank_of(model))
    twin = rescaled_guard(guard, space, ALIKE)
    raw = encode(pipe.vae, PICTURES)
    for level in (0.0, 0.7):
        torch.testing.assert_close(
            twin.model.encode_latents(raw * ALIKE[0], level), model.encode_latents(raw, level), rtol=1e-3, atol=1e-4
        )
    assert twin.model.config.latent_space == LatentSpace.of_vae(rescaled(pipe, ALIKE).vae)


def test_what_cannot_be_rescaled_is_refused_in_one_line() -> None:
    pipe = tiny_pipeline()
    with pytest.raises(InputError, match="one scale for all channels"):
        rescaled(pipe, EACH)
    pipe.vae = None
    with pytest.raises(UnsupportedPipelineError, match="only the latents of an AutoencoderKL"):
        rescaled(pipe, ALIKE)
