from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, pixel_unshuffle

from latent_guard.errors import CheckpointError, InputError, LatentSpaceMismatchError
from latent_guard.latent_clip.adapter import AdapterConfig, LatentAdapter
from latent_guard.latent_clip.adapter_fit import fit_adapter
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_card import TrainingFacts, model_card

OTHER = LatentSpace("other VAE", channels=6, factor=8, scaling_factor=0.3, shift_factor=0.1)
OWN = LatentSpace("toy VAE", channels=4, factor=8)
LINEAR, CONV = AdapterConfig(OTHER, OWN), AdapterConfig(OTHER, OWN, width=8)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def related(pairs: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of two spaces of unlike scales: the one half linear in the other, half not, and a little noise."""
    read = 7 * drawn(pairs, 6, 8, 8) + 3
    mixed = torch.einsum("oc,nchw->nohw", drawn(4, 6, seed=1), read)
    return read, mixed + 3 * read[:, :4].abs() - 2 + 0.1 * drawn(pairs, 4, 8, 8, seed=2)


def random_adapter(config: AdapterConfig) -> LatentAdapter:
    """One whose convolutions, which begin at zero, do something."""
    torch.manual_seed(0)
    adapter = LatentAdapter(config)
    for weight in adapter.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return adapter.eval()


def test_the_linear_fit_is_the_least_squares_solution(tiny_model: LatentCLIP) -> None:
    read, wanted = related()
    fit = fit_adapter(tiny_model, LINEAR, read, wanted)
    rows = [row for row in range(60) if row % 10 != 9]
    places = read[rows].permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
    solution, *_ = np.linalg.lstsq(
        np.hstack([places, np.ones((len(places), 1))]),
        wanted[rows].permute(0, 2, 3, 1).reshape(-1, 4).double().numpy(),
        rcond=None,
    )
    linear = fit.adapter.linear
    np.testing.assert_allclose(linear.weight[:, :, 0, 0].detach().numpy(), solution[:-1].T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(linear.bias.detach().numpy(), solution[-1], rtol=1e-3, atol=1e-3)
    assert (fit.fitted, fit.held_out) == (54, 6)
    held_out = [row for row in range(60) if row % 10 == 9]
    error = (fit.adapter(read[held_out]).detach() - wanted[held_out]).square().sum((0, 2, 3))
    spread = wanted[held_out] - wanted[held_out].mean((0, 2, 3), keepdim=True)
    assert fit.explained == pytest.approx(float((1 - error / spread.square().sum((0, 2, 3))).mean()), abs=1e-5)


@pytest.mark.parametrize(("reads", "gives"), [(8, 8), (16, 8), (32, 8), (8, 16)])
@torch.no_grad()
def test_a_map_that_is_linear_is_found_whatever_the_factors(
    tiny_config: LatentCLIPConfig, reads: int, gives: int
) -> None:
    space = dataclasses.replace(OWN, factor=gives)
    model = LatentCLIP(dataclasses.replace(tiny_config, latent_space=space)).eval()
    config = AdapterConfig(dataclasses.replace(OTHER, factor=reads), space)
    truth = random_adapter(config)
    read = 5 * drawn(30, 6, 8, 8) + 1
    fit = fit_adapter(model, config, read, truth(read))
    assert min(fit.explained, fit.agreement) > 0.999
    torch.testing.assert_close(fit.adapter(read), truth(read), atol=1e-3, rtol=1e-3)


def test_convolutions_bring_the_embeddings_closer_and_the_same_each_time(tiny_config: LatentCLIPConfig) -> None:
    torch.manual_seed(0)
    model, read = LatentCLIP(tiny_config).eval(), drawn(200, 6, 8, 8) + 0.3
    pairs, before = (read, 5 * read[:, :4].roll(1, dims=-1).abs()), model.fingerprint()
    linear = fit_adapter(model, LINEAR, *pairs)
    fits = [fit_adapter(model, CONV, *pairs, steps=60, show_progress=False) for _ in range(2)]
    assert 1 - fits[0].agreement < 0.8 * (1 - linear.agreement)
    assert fits[0].agreement == fits[1].agreement
    one, other = (fit.adapter.state_dict() for fit in fits)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert model.fingerprint() == before
    assert all(weight.grad is None for weight in model.parameters())


@torch.no_grad()
def test_convolutions_begin_as_the_linear_map_with_scales_and_shifts_folded_in(tiny_model: LatentCLIP) -> None:
    read, _ = related()
    linear = fit_adapter(tiny_model, LINEAR, *related()).adapter
    with torch.enable_grad():
        begun = fit_adapter(tiny_model, CONV, *related(), steps=2, show_progress=False).adapter
    assert (begun(read) - linear(read)).std() < 0.05 * linear(read).std()


@settings(max_examples=25, deadline=None)
@given(factors=st.sampled_from([(8, 8), (8, 16), (8, 32), (16, 8), (32, 8)]), size=st.tuples(*[st.integers(1, 9)] * 2))
@torch.no_grad()
def test_latents_of_any_size_are_mapped_whole(factors: tuple[int, int], size: tuple[int, int]) -> None:
    reads, gives = factors
    config = AdapterConfig(dataclasses.replace(OTHER, factor=reads), dataclasses.replace(OWN, factor=gives), width=2)
    found = random_adapter(config)(drawn(1, 6, *size))
    assert found.shape == (1, 4, *(-(-side * reads // gives) for side in size))


def test_an_adapted_model_sees_what_the_adapter_gives(tiny_model: LatentCLIP) -> None:
    adapter, latents = random_adapter(CONV), drawn(2, 6, 8, 8)
    model = tiny_model.adapted(adapter)
    assert not model.training
    assert model.config.latent_space == OTHER
    for level in (None, 0.7):
        torch.testing.assert_close(
            model.encode_latents(latents, level), tiny_model.encode_latents(adapter(latents), level)
        )
    torch.testing.assert_close(model.encode_text(["a cat"]), tiny_model.encode_text(["a cat"]))
    with pytest.raises(InputError, match=r"4 channels, as .* this model reads other VAE"):
        model.encode_latents(drawn(1, 4, 8, 8))
    with pytest.raises(LatentSpaceMismatchError, match=r"of toy VAE .* reads those of other VAE"):
        model.require_space(OWN)


def test_an_adapted_model_can_be_differentiated_in_the_latents(tiny_model: LatentCLIP) -> None:
    model, latents = tiny_model.adapted(random_adapter(CONV)).double(), drawn(1, 6, 8, 8).double().requires_grad_()

    def score(z: torch.Tensor) -> torch.Tensor:
        return model.encode_latents(z, 0.3, normalize=True)[0, 0]

    (gradient,) = torch.autograd.grad(score(latents), latents)
    step = 1e-5 * drawn(1, 6, 8, 8, seed=5)
    torch.testing.assert_close(
        (gradient * 2 * step).sum(), score(latents + step) - score(latents - step), rtol=1e-3, atol=1e-12
    )


@torch.no_grad()
def test_an_adapted_model_is_saved_whole(tiny_model: LatentCLIP, tmp_path: Path) -> None:
    for config in (LINEAR, CONV):
        model = tiny_model.adapted(random_adapter(config))
        model.save_pretrained(tmp_path / str(config.width), dtype=torch.float32)
        back = LatentCLIP.from_pretrained(tmp_path / str(config.width))
        assert torch.equal(back.encode_latents(drawn(2, 6, 8, 8)), model.encode_latents(drawn(2, 6, 8, 8)))
        assert back.config == model.config
        assert back.fingerprint() == model.fingerprint() != tiny_model.fingerprint()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_an_adapted_model_runs_in_half_precision(tiny_model: LatentCLIP, dtype: torch.dtype) -> None:
    one, other = tiny_model.adapted(random_adapter(CONV)), tiny_model.adapted(random_adapter(CONV)).to(dtype)
    features = one.encode_latents(drawn(2, 6, 12, 8)), other.encode_latents(drawn(2, 6, 12, 8)).float()
    assert cosine_similarity(*features).min() > 0.999


def test_a_model_without_an_adapter_says_nothing_about_one(tiny_model: LatentCLIP) -> None:
    assert "adapter" not in tiny_model.config.to_dict()
    assert not any(name.startswith("adapter") for name in tiny_model.state_dict())


def test_the_config_of_an_adapted_model_survives_json_and_counts_pixels(tiny_config: LatentCLIPConfig) -> None:
    coarse = dataclasses.replace(OTHER, factor=32)
    config = dataclasses.replace(tiny_config, latent_space=coarse, adapter=AdapterConfig(coarse, OWN, 8))
    assert LatentCLIPConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.pixels, config.tower_space, tiny_config.pixels) == (64, OWN, 64)
    card = model_card("someone/model", config, "0" * 16, TrainingFacts("pictures", 1, "none"))
    assert "6 x 2 x 2 positions, which is\n64 pixels a side" in card
    assert "convolutional adapter turns them into those that the image tower learned, of toy VAE" in card


def test_an_adapter_in_a_config_has_to_fit(
    tiny_config: LatentCLIPConfig, tiny_model: LatentCLIP, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"it reads other VAE.* and the model toy VAE"):
        dataclasses.replace(tiny_config, adapter=LINEAR)
    tiny_model.adapted(random_adapter(CONV)).save_pretrained(tmp_path)
    (tmp_path / "manifest.json").unlink()  # which would refuse any change
    config = json.loads((tmp_path / "config.json").read_text())
    for key, value, message in (
        ("width", 4, "does not fit its config.json"),
        ("width", -1, "width must be a whole number from 0"),
        ("depth", 2, "adapter: unknown key 'depth'"),
        ("gives", {"name": "x"}, "gives: missing key 'channels'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, "adapter": {**config["adapter"], key: value}}))
        with pytest.raises(CheckpointError, match=message):
            LatentCLIP.from_pretrained(tmp_path)


def test_what_cannot_be_adapted_is_refused(tiny_model: LatentCLIP) -> None:
    adapted = tiny_model.adapted(random_adapter(LINEAR))
    with pytest.raises(InputError, match="adapted already"):
        adapted.adapted(random_adapter(LINEAR))
    wrong = AdapterConfig(OTHER, dataclasses.replace(OWN, scaling_factor=0.5))
    with pytest.raises(LatentSpaceMismatchError, match=r"adapter gives latents of toy VAE .*scaling 0[.]5"):
        tiny_model.adapted(random_adapter(wrong))
    with pytest.raises(InputError, match="neither of the factors is a multiple of the other"):
        AdapterConfig(dataclasses.replace(OTHER, factor=12), OWN)


@pytest.mark.parametrize(
    ("read", "wanted", "message"),
    [
        (drawn(19, 6, 4, 4), drawn(19, 4, 4, 4), "19 images are too few .* at least 20"),
        (drawn(30, 6, 4, 4), drawn(29, 4, 4, 4), "30 and 29 latents are no pairs"),
        (drawn(30, 5, 4, 4), drawn(30, 4, 4, 4), "are not of other VAE"),
        (drawn(30, 6, 4, 4), drawn(30, 4, 8, 8), "are no pairs"),
        (drawn(30, 6, 4, 4) / 0, drawn(30, 4, 4, 4), "of other VAE .* are not finite"),
    ],
)
def test_pairs_that_are_none_are_refused(
    tiny_model: LatentCLIP, read: torch.Tensor, wanted: torch.Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_adapter(tiny_model, LINEAR, read, wanted)


def test_finer_latents_become_channels_of_the_coarser_grid() -> None:
    config = AdapterConfig(OTHER, dataclasses.replace(OWN, factor=16))
    latents = drawn(1, 6, 4, 4)
    assert torch.equal(random_adapter(config).to_coarse(latents), pixel_unshuffle(latents, 2))
