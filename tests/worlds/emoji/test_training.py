"""The world's own training: the optimiser, the loop, the VAE's latent, the classifiers' and the bank's thresholds."""

import json

import pytest
import torch
from torch import nn

from latent_guard.errors import CheckpointError
from latent_guard.pipelines.vae import to_model_range, to_pictures
from latent_guard.training.optimizers import orthogonalise
from latent_guard.worlds.emoji import bundle
from latent_guard.worlds.emoji.autoencoder import decode, encode, equalise_channels, new_autoencoder
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import (
    UNSAFE,
    EmojiClassifier,
    mixer_net,
    residual_net,
    thresholds_at,
)
from latent_guard.worlds.emoji.generator import new_unet
from latent_guard.worlds.emoji.loop import LoopSettings, fit, rate_factor_at
from latent_guard.worlds.emoji.pool import draw_pool
from latent_guard.worlds.emoji.scenes import FULL


def test_muon_s_update_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 64), (2, 64, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_learning_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(steps=100, warmup=10, decay=0.2)
    assert rate_factor_at(0, settings) == pytest.approx(0.1)
    assert rate_factor_at(50, settings) == 1.0
    assert rate_factor_at(99, settings) == pytest.approx(0.05)


class InterruptedRunError(Exception):
    pass


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path) -> None:
    settings = LoopSettings(steps=12, warmup=1, ema=0.9, save_every=4, log_every=5)
    data = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))

    def train(folder, stop_at=None):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))

        def loss_at(step):
            if step == stop_at:
                raise InterruptedRunError
            rows = torch.randint(64, (8,), generator=torch.Generator().manual_seed(step))
            return (model(data[rows]) - data[rows].flip(1)).square().mean()

        return fit(model, loss_at, settings, folder)

    whole = train(tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        train(tmp_path / "cut", stop_at=7)
    resumed = train(tmp_path / "cut")
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_equalised_channels_have_variance_one_and_decode_as_before() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder().eval()
    with torch.no_grad():
        vae.quant_conv.weight.mul_(3)
        vae.quant_conv.bias.add_(1)
    pictures = draw_pool(5, 16, FULL).pictures
    before = decode(vae, encode(vae, pictures))
    equalise_channels(vae, pictures)
    latents = encode(vae, pictures)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(8), atol=1e-3)
    assert torch.allclose(decode(vae, latents), before, atol=1e-3)


def test_the_unet_is_within_its_size() -> None:
    assert sum(p.numel() for p in new_unet().parameters()) <= 6e6


def test_pictures_survive_the_round_trip_to_model_range() -> None:
    pictures = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_pictures(to_model_range(pictures)), pictures)


def test_classifier_thresholds_hold_for_a_picture_not_for_an_object() -> None:
    torch.manual_seed(0)
    probabilities = torch.rand(4000, len(OBJECT_NAMES))
    targets = torch.zeros_like(probabilities)
    thresholds = thresholds_at(probabilities, targets)
    alarms = (probabilities > thresholds)[:, UNSAFE].any(1).float().mean()
    assert alarms == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize(("name", "network"), [("residual", residual_net), ("mixer", mixer_net)])
def test_a_classifier_reads_back_what_it_saved(tmp_path, name, network) -> None:
    torch.manual_seed(0)
    made = EmojiClassifier(name, network().eval(), torch.rand(len(OBJECT_NAMES)))
    made.save(tmp_path)
    pictures = draw_pool(1, 4, FULL).pictures
    read = EmojiClassifier.load(tmp_path)
    assert torch.allclose(read.probabilities(pictures), made.probabilities(pictures), atol=1e-2)
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a readable classifier"):
        EmojiClassifier.load(tmp_path)


def test_an_altered_or_missing_file_of_a_bundle_is_found(tmp_path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "weights").write_bytes(b"one")
    bundle.write_manifest(tmp_path)
    bundle.verify(tmp_path)
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == ["part/weights"]
    (tmp_path / "part" / "more").write_bytes(b"smuggled in")
    with pytest.raises(CheckpointError, match="more does not belong there"):
        bundle.verify(tmp_path)
    (tmp_path / "part" / "more").unlink()
    (tmp_path / "part" / "weights").write_bytes(b"two")
    with pytest.raises(CheckpointError, match="not the file that its manifest names"):
        bundle.verify(tmp_path)
    (tmp_path / "part" / "weights").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        bundle.verify(tmp_path)
