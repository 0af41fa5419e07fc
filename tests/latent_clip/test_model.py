from __future__ import annotations

import dataclasses

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.latent_clip.config import LatentCLIPConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PIXELS
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import tokenize

LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_both_towers_map_into_one_space(tiny_model: LatentCLIP):
    assert tiny_model.encode_latents(LATENTS).shape == (3, 16)
    assert tiny_model.encode_text(["a knife", "a spoon"]).shape == (2, 16)


def test_normalized_embeddings_have_length_one(tiny_model: LatentCLIP):
    for features in (tiny_model.encode_latents(LATENTS, normalize=True), tiny_model.encode_text(["a"], normalize=True)):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(features)))


def test_an_embedding_can_be_differentiated_in_the_latents(tiny_model: LatentCLIP):
    model = tiny_model.double()
    latents = LATENTS[:1].double().requires_grad_()
    direction = torch.randn(1, 16, dtype=torch.float64)

    def score(z):
        return (model.encode_latents(z, 0.3, normalize=True) * direction).sum()

    (gradient,) = torch.autograd.grad(score(latents), latents)
    step = 1e-6 * torch.randn_like(latents)
    numeric = score(latents + step) - score(latents - step)
    model.float()
    torch.testing.assert_close((gradient * 2 * step).sum(), numeric, rtol=1e-4, atol=1e-14)
    assert gradient.abs().sum() > 0


def test_the_noise_level_is_read(tiny_model: LatentCLIP):
    clean, noisy = tiny_model.encode_latents(LATENTS, 0.0), tiny_model.encode_latents(LATENTS, 0.9)
    assert (clean - noisy).abs().max() > 1e-3
    assert torch.equal(tiny_model.encode_latents(LATENTS), clean)


def test_a_noise_level_may_be_given_for_each_image(tiny_model: LatentCLIP):
    each = tiny_model.encode_latents(LATENTS, torch.tensor([0.0, 0.9, 0.0]))
    torch.testing.assert_close(each[1], tiny_model.encode_latents(LATENTS, 0.9)[1])
    torch.testing.assert_close(each[2], tiny_model.encode_latents(LATENTS)[2])
    with pytest.raises(InputError, match="2 values for 3 latents"):
        tiny_model.encode_latents(LATENTS, torch.tensor([0.0, 0.9]))


def test_a_model_without_the_noise_channel_ignores_the_level(tiny_config: LatentCLIPConfig):
    model = LatentCLIP(dataclasses.replace(tiny_config, reads_noise_level=False))
    assert torch.equal(model.encode_latents(LATENTS, 0.9), model.encode_latents(LATENTS))


def test_latents_of_another_vae_are_refused_naming_both_channel_counts(tiny_model: LatentCLIP):
    with pytest.raises(
        InputError,
        match=r"16 channels, as SD3 or FLUX\.1 or .* has; this model reads toy VAE \(4 channels",
    ):
        tiny_model.encode_latents(torch.zeros(1, 16, 8, 8))


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 4, 0, 8), (4,)])
def test_what_is_not_a_batch_of_latents_is_refused(tiny_model: LatentCLIP, shape):
    with pytest.raises(InputError, match="expected \\(images, channels, height, width\\)"):
        tiny_model.encode_latents(torch.zeros(shape))


def test_half_precision_latents_are_read(tiny_model: LatentCLIP):
    half = tiny_model.encode_latents(LATENTS.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, tiny_model.encode_latents(LATENTS), atol=1e-2, rtol=1e-2)


def test_padding_does_not_change_a_text(tiny_model: LatentCLIP):
    ids = tokenize(tiny_model.tokenizer, ["a cat"])
    short = ids[:, : int(ids.argmax()) + 1]
    torch.testing.assert_close(tiny_model.encode_text(short), tiny_model.encode_text(["a cat"]))


def test_a_text_is_read_in_its_order(tiny_model: LatentCLIP):
    one, other = tiny_model.encode_text(["a cat on a dog", "a dog on a cat"])
    assert (one - other).abs().max() > 1e-3


def test_too_many_tokens_are_refused(tiny_model: LatentCLIP):
    with pytest.raises(InputError, match="at most 16 tokens"):
        tiny_model.encode_text(torch.zeros(1, 17, dtype=torch.long))


def test_the_pixel_twin_is_the_same_class(tiny_config: LatentCLIPConfig):
    vision = VisionConfig(channels=3, size=64, patch_size=8, width=32, layers=1, heads=2)
    twin = LatentCLIP(dataclasses.replace(tiny_config, vision=vision, latent_space=PIXELS, reads_noise_level=False))
    assert twin.encode_latents(torch.rand(2, 3, 64, 64) * 2 - 1).shape == (2, 16)


def test_the_fingerprint_follows_the_weights_and_the_config(tiny_config: LatentCLIPConfig):
    model = LatentCLIP(tiny_config)
    before = model.fingerprint()
    assert model.fingerprint() == before
    assert len(before) == 16
    with torch.no_grad():
        model.visual.proj[0, 0] += 0.1
    assert model.fingerprint() != before
