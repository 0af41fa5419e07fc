"""`pipe.vae = AutoencoderTiny...`: the latents are the denoiser's still, and the guard's canary says whether."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import diffusers
import pytest
import torch

from latent_guard.errors import LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.vae import decode, to_pictures
from latent_guard.testing import LinearLatentCLIP, linear_bank, tiny_pipeline

NEVER, ALWAYS = 1e3, -1e3
PICTURE = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def with_tiny_autoencoder() -> Any:
    pipe = tiny_pipeline()
    torch.manual_seed(1)
    pipe.vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 3,
        decoder_block_out_channels=(8,) * 3,
        num_encoder_blocks=(1,) * 3,
        num_decoder_blocks=(1,) * 3,
    ).eval()
    return pipe


def canary_of(pipe: Any, space: LatentSpace) -> Canary:
    """A canary of a VAE whose latents the tiny autoencoder decodes well: by its own word."""
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    return Canary(to_pictures(decode(pipe.vae, space.from_raw(latent)[None]).clamp(-1, 1))[0], latent)


def guard_of(space: LatentSpace, threshold: float, canary: Canary | None) -> tuple[LatentGuard, LinearLatentCLIP]:
    critic = LinearLatentCLIP()
    critic.config = SimpleNamespace(latent_space=space)
    return LatentGuard(cast(LatentCLIP, critic), linear_bank(threshold), BLOCK, canary), critic


SPACE = LatentSpace("AutoencoderKL", channels=4, factor=4, scaling_factor=0.13025)


def test_latents_are_read_in_the_guards_own_space() -> None:
    pipe = with_tiny_autoencoder()
    arguments: dict[str, Any] = {"num_inference_steps": 3, "generator": torch.Generator().manual_seed(0)}
    latents = pipe("a cat", output_type="latent", **arguments).images
    arguments["generator"].manual_seed(0)
    guard, critic = guard_of(SPACE, NEVER, canary_of(pipe, SPACE))
    plain = pipe("a cat", output_type="np", **arguments).images
    arguments["generator"].manual_seed(0)
    with guard.attach(pipe) as watch:
        images = pipe("a cat", output_type="np", **arguments).images
    assert (images == plain).all()
    assert watch.verdicts[0].scores["violence"] == pytest.approx(float(critic.score(SPACE.to_raw(latents))), rel=1e-4)
    assert len(watch.checks) == 1 + sum(check.noise_level > 0 for check in watch.checks)  # nothing is judged twice


def test_a_blocked_picture_is_decoded_from_the_tiny_autoencoders_gray() -> None:
    pipe = with_tiny_autoencoder()
    guard, _ = guard_of(SPACE, ALWAYS, canary_of(pipe, SPACE))
    with guard.attach(pipe) as watch:
        latents = pipe("a cat", num_inference_steps=3, output_type="latent").images
        pipe("a cat", num_inference_steps=3)
    assert {verdict.decision for verdict in watch.verdicts} == {Decision.BLOCKED}
    assert latents.std(dim=(2, 3)).max() < 1e-6
    gray = pipe.vae.encode(torch.full((1, 3, 64, 64), 128 / 127.5 - 1)).latents[0].mean(dim=(1, 2))
    torch.testing.assert_close(latents[0, :, 0, 0], gray, rtol=1e-3, atol=1e-4)


def test_one_that_decodes_other_latents_is_refused_and_so_is_a_guard_without_a_canary() -> None:
    pipe = with_tiny_autoencoder()
    other = Canary(PICTURE, torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2)))
    with pytest.raises(LatentSpaceMismatchError, match=r"tiny autoencoder does not decode .* dB"):
        guard_of(SPACE, NEVER, other)[0].attach(pipe)
    with pytest.raises(UnsupportedPipelineError, match="only a guard that has a canary"):
        guard_of(SPACE, NEVER, None)[0].attach(pipe)


def test_at_the_decoder_alone_a_tiny_autoencoder_is_refused_by_name() -> None:
    """Without a row nobody knows which of a space's numbers its pipeline applies."""
    pipe = with_tiny_autoencoder()
    with pytest.raises(UnsupportedPipelineError, match="AutoencoderTiny"):
        guard_of(SPACE, NEVER, canary_of(pipe, SPACE))[0].attach(pipe, gate="decode")
