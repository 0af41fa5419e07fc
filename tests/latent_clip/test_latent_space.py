from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace


def small_vae(**config) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=5,
        norm_num_groups=4,
        layers_per_block=1,
        **config,
    )


def test_the_space_of_an_autoencoder_is_read_from_its_config():
    space = LatentSpace.of_vae(small_vae(scaling_factor=0.5, shift_factor=0.25))
    assert space == LatentSpace("AutoencoderKL", channels=5, factor=4, scaling_factor=0.5, shift_factor=0.25)


def test_a_vae_without_a_shift_has_a_shift_of_zero():
    assert LatentSpace.of_vae(small_vae(scaling_factor=1.0)).shift_factor == 0


def test_the_map_is_the_one_that_sd3_documents_and_goes_back():
    space = LatentSpace("SD3", 16, 8, scaling_factor=1.5305, shift_factor=0.0609)
    raw = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(space.from_raw(raw), (raw - 0.0609) * 1.5305)
    torch.testing.assert_close(space.to_raw(space.from_raw(raw)), raw)


def test_pixels_are_their_own_raw_latents():
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(PIXELS.to_raw(image), image)


def test_other_vaes_are_refused_by_name():
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    with pytest.raises(UnsupportedPipelineError, match="AutoencoderTiny"):
        LatentSpace.of_vae(tiny)


def test_a_vae_that_also_shifts_by_channel_is_refused():
    with pytest.raises(UnsupportedPipelineError, match="latents_mean"):
        LatentSpace.of_vae(small_vae(latents_mean=(0.1,) * 5, latents_std=(1.0,) * 5))
