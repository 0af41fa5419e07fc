from __future__ import annotations

import dataclasses

import pytest
import torch
from open_clip.model import resize_pos_embed
from torch.nn.functional import cosine_similarity

from latent_guard.errors import LatentSpaceMismatchError
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.positions import resized_embedding, whole_patches

RANDOM = torch.Generator().manual_seed(0)
SIZES = [(12, 12), (8, 12), (12, 8), (4, 4), (9, 14), (1, 40)]


@pytest.mark.parametrize("grid", [(3, 3), (6, 6), (2, 7), (9, 4)])
def test_position_embeddings_are_resized_as_open_clip_does(grid):
    class Model:
        class visual:  # noqa: N801
            grid_size = grid

    state = {"visual.positional_embedding": torch.randn(17, 6, generator=RANDOM)}
    ours = resized_embedding(state["visual.positional_embedding"], grid)
    resize_pos_embed(state, Model)
    assert ours.shape == (1 + grid[0] * grid[1], 6)
    torch.testing.assert_close(ours, state["visual.positional_embedding"])


@pytest.mark.parametrize("size", SIZES)
def test_latents_of_any_size_and_aspect_are_embedded(tiny_model: LatentCLIP, size):
    latents = torch.randn(2, 4, *size, generator=RANDOM, requires_grad=True)
    features = tiny_model.encode_latents(latents, torch.tensor([0.0, 0.5]))
    assert features.shape == (2, 16)
    (gradient,) = torch.autograd.grad(features.square().sum(), latents)
    assert (gradient.abs().amax(dim=(0, 1)) > 0).all(), "a position that the model does not see"


@torch.no_grad()
def test_the_trained_size_takes_the_tower_as_it_is(tiny_model: LatentCLIP, tiny_config: LatentCLIPConfig):
    model = LatentCLIP(dataclasses.replace(tiny_config, reads_noise_level=False)).eval()
    latents = torch.randn(2, 4, 8, 8, generator=RANDOM)
    assert torch.equal(model.encode_latents(latents), model.visual(latents))


@torch.no_grad()
def test_a_model_is_the_same_after_it_has_read_another_size(tiny_model: LatentCLIP):
    before, shape = tiny_model.fingerprint(), tiny_model.visual.positional_embedding.shape
    tiny_model.encode_latents(torch.randn(1, 4, 12, 20))
    assert tiny_model.fingerprint() == before
    assert tiny_model.visual.positional_embedding.shape == shape


def test_the_position_embeddings_learn_from_every_size(tiny_model: LatentCLIP):
    positions = tiny_model.visual.positional_embedding
    features = tiny_model.encode_latents(torch.randn(2, 4, 12, 8, generator=RANDOM))
    (gradient,) = torch.autograd.grad(features.square().sum(), positions)
    assert (gradient.abs().amax(dim=1) > 0).all()


def test_missing_rows_repeat_the_last_one():
    latents = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert whole_patches(latents, 1) is latents
    assert whole_patches(latents, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(8, 8), (12, 8)])
@torch.no_grad()
def test_half_precision_embeds_closely(tiny_model: LatentCLIP, tiny_config: LatentCLIPConfig, dtype, size):
    half = LatentCLIP(tiny_config)
    half.load_state_dict(tiny_model.state_dict())
    half = half.to(dtype).eval()
    latents = 7 * torch.randn(4, 4, *size, generator=RANDOM)  # the spread of raw SDXL latents
    one, other = tiny_model.encode_latents(latents, normalize=True), half.encode_latents(latents, normalize=True)
    assert other.dtype == dtype
    assert cosine_similarity(one, other.float()).min() > 0.999
    text, other = tiny_model.encode_text(["a cat"], normalize=True), half.encode_text(["a cat"], normalize=True)
    assert cosine_similarity(text, other.float()).min() > 0.999


def test_a_space_is_held_against_the_models_own(tiny_model: LatentCLIP):
    tiny_model.require_space(LatentSpace("toy VAE", channels=4, factor=8))
    other = LatentSpace("AutoencoderKL", channels=4, factor=8, scaling_factor=0.18215)
    both = r"of SD 1\.5 \(4 channels.* reads those of toy VAE \(4 channels"
    with pytest.raises(LatentSpaceMismatchError, match=both):
        tiny_model.require_space(other)
