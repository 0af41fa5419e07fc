from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import PIXELS, PUBLISHED, LatentSpace

FLUX_2 = replace(PUBLISHED["FLUX.2"], channels=1, mean=[0.1, 0.2, 0.3, 0.4], std=[1.0, 2.0, 3.0, 4.0])


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
    space = PUBLISHED["SD3"]
    raw = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(space.from_raw(raw), (raw - 0.0609) * 1.5305)
    torch.testing.assert_close(space.to_raw(space.from_raw(raw)), raw)


@given(
    patch=st.integers(1, 3),
    scale=st.floats(0.1, 10),
    shift=st.floats(-2, 2),
    by_channel=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_the_way_back_from_pipeline_latents_is_the_inverse(
    patch: int, scale: float, shift: float, by_channel: bool, seed: int
):
    random, own = torch.Generator().manual_seed(seed), 2 * patch * patch
    means, stds = torch.randn(own, generator=random).tolist(), (torch.rand(own, generator=random) + 0.5).tolist()
    normalised = {"mean": means, "std": stds} if by_channel else {}
    space = LatentSpace("any", 2, 8, scale, shift, patch=patch, **normalised)
    raw = torch.randn(3, 2, 6, 12, generator=random, dtype=torch.float64)
    latents = space.from_raw(raw)
    assert latents.shape == (3, own, 6 // patch, 12 // patch)
    torch.testing.assert_close(space.to_raw(latents), raw)


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


@pytest.mark.parametrize("space", [*PUBLISHED.values(), PIXELS, FLUX_2], ids=str)
def test_a_space_survives_json(space: LatentSpace):
    assert LatentSpace(**json.loads(json.dumps(space.to_dict()))) == space


def test_what_few_spaces_have_is_written_for_them_alone():
    common = {"name", "channels", "factor", "scaling_factor", "shift_factor"}
    assert set(PUBLISHED["SDXL"].to_dict()) == common
    assert set(FLUX_2.to_dict()) == {*common, "patch", "mean", "std"}


@pytest.mark.parametrize(("name", "space"), PUBLISHED.items(), ids=PUBLISHED)
def test_a_published_space_is_called_by_its_family(name: str, space: LatentSpace):
    assert str(space).startswith(f"{name} ({space.channels} channels, /{space.factor}")
    assert str(replace(space, scaling_factor=0.7)).startswith(space.name)


def test_flux_2_is_recognised_whatever_its_statistics():
    own = LatentSpace("AutoencoderKLFlux2", 32, 8, patch=2, mean=[0.0] * 128, std=[1.0] * 128)
    assert str(own) == "FLUX.2 (32 channels, /8)"


def test_statistics_of_another_number_of_channels_are_refused():
    with pytest.raises(InputError, match="each of the 128 channels of pipeline latents"):
        replace(PUBLISHED["FLUX.2"], mean=[0.0] * 32, std=[1.0] * 32)
    with pytest.raises(InputError, match="4 and 0 values"):
        replace(PUBLISHED["SDXL"], mean=[0.0] * 4)
