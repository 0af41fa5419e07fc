"""The Latent-CLIP that a fit starts from."""

from __future__ import annotations

import pytest
import torch

from latent_guard.errors import InputError, LatentSpaceMismatchError
from latent_guard.fitting.base import base_for, published_base, with_noise_input
from latent_guard.latent_clip.latent_space import PIXELS, PUBLISHED, LatentSpace
from latent_guard.testing import tiny_latent_clip, tiny_pipeline


def test_an_sdxl_pipeline_starts_from_the_published_checkpoint() -> None:
    assert published_base(PUBLISHED["SDXL"]) == "wendlerc/latent-clip-b-8-512-34b-80k"


@pytest.mark.parametrize("family", ["SD 1.5", "SD3", "FLUX.1", "FLUX.2", "Sana"])
def test_without_a_published_one_the_error_names_the_ways_to_one(family: str) -> None:
    with pytest.raises(InputError, match=r"--latent-clip.*adapt.*train"):
        published_base(PUBLISHED[family])


def test_one_of_another_space_is_refused(tmp_path) -> None:
    tiny_latent_clip(PUBLISHED["SDXL"]).save_pretrained(tmp_path)
    with pytest.raises(LatentSpaceMismatchError):
        base_for(tiny_pipeline(), str(tmp_path), "cpu")


def test_the_noise_input_changes_nothing_at_first() -> None:
    torch.manual_seed(0)
    model = tiny_latent_clip(PIXELS)  # it is not told a noise level
    told = with_noise_input(model)
    latents = torch.randn(3, 3, 8, 8)
    assert told.config.reads_noise_level
    assert torch.equal(told.encode_latents(latents, 0.7), model.encode_latents(latents))
    assert torch.equal(told.encode_text(["a cat"]), model.encode_text(["a cat"]))


def test_one_that_is_told_the_noise_level_keeps_what_it_knows() -> None:
    torch.manual_seed(0)
    model = tiny_latent_clip(LatentSpace("AutoencoderKL", 4, 8))
    latents = torch.randn(3, 4, 8, 8)
    assert torch.equal(with_noise_input(model).encode_latents(latents, 0.7), model.encode_latents(latents, 0.7))
