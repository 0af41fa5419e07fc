from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.contrastive import backward, contrastive_loss
from latent_guard.training.data.batches import Batch, BatchSource
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.model_shape import model_config
from latent_guard.training.towers import Towers
from tests.training.toy import MODEL


@pytest.fixture
def batch(shards: Path) -> Batch:
    data = TrainingData.open([shards])
    return BatchSource(data.buckets(LatentCLIP(model_config(MODEL, data)).tokenizer), 0).batch(0, 14)


def new_towers(shards: Path, kind: str, precision: str = "fp32") -> Towers:
    torch.manual_seed(0)
    return Towers(LatentCLIP(model_config(MODEL, TrainingData.open([shards]))), precision, sigmoid=kind == "siglip")


def gradients(towers: Towers) -> dict[str, Tensor]:
    return {name: p.grad for name, p in towers.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("micro_batch", [1, 4, 7])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(shards: Path, batch: Batch, kind: str, micro_batch: int):
    whole, parts = new_towers(shards, kind), new_towers(shards, kind)
    loss = backward(whole, batch, contrastive_loss(kind))
    assert backward(parts, batch, contrastive_loss(kind), micro_batch) == pytest.approx(float(loss), abs=1e-5)
    assert gradients(parts).keys() == dict(parts.named_parameters()).keys()
    torch.testing.assert_close(gradients(parts), gradients(whole), atol=1e-4, rtol=1e-4)


def test_recomputed_activations_give_the_same_gradients(shards: Path, batch: Batch):
    kept, recomputed = new_towers(shards, "clip"), new_towers(shards, "clip")
    recomputed.checkpoint_gradients()
    for towers in (kept, recomputed):
        backward(towers.train(), batch, contrastive_loss("clip"))
    torch.testing.assert_close(gradients(recomputed), gradients(kept))


@pytest.mark.slow  # the compiler takes a minute
def test_compiled_towers_give_the_same_gradients_for_batches_of_any_length(shards: Path, monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    plain, compiled = new_towers(shards, "clip"), new_towers(shards, "clip")
    compiled.compile_both(with_ddp=False)
    generator, end = torch.Generator().manual_seed(0), plain.model.config.text.vocab_size - 1
    for size in (12, 9, 16, 10, 14, 7, 11, 13, 15, 8):
        lengths = torch.randint(3, 17, (size, 1), generator=generator)
        ids = torch.randint(end, (size, 16), generator=generator).where(torch.arange(16) < lengths - 1, end)
        latents = torch.randn(size, 4, 4, 4, generator=generator)
        batch = Batch.of(latents, torch.zeros(size), ids, end)
        for towers in (plain, compiled):
            towers.zero_grad()
            backward(towers, batch, contrastive_loss("clip"), micro_batch=6)
        torch.testing.assert_close(gradients(compiled), gradients(plain), atol=1e-4, rtol=1e-4)


def test_the_sigmoid_loss_is_that_of_its_paper(shards: Path, batch: Batch):
    """SigLIP (Zhai et al. 2023), equation 1: -1/n sum_ij log sigmoid(z_ij (t x_i y_j + b)), z = 1 on the diagonal."""
    towers = new_towers(shards, "siglip")
    images, texts, scale, bias = towers(batch.latents, batch.noise_levels, batch.texts)
    signs = 2 * torch.eye(len(batch)) - 1
    expected = -torch.log(torch.sigmoid(signs * (scale * images @ texts.T + bias))).sum() / len(batch)
    torch.testing.assert_close(backward(towers, batch, contrastive_loss("siglip")), expected.detach())
