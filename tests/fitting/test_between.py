"""Models on the line between an untouched one and a tuned one."""

from __future__ import annotations

import copy

import pytest
import torch

from latent_guard.fitting.between import between
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.testing import tiny_latent_clip


def first_weight(model: LatentCLIP) -> float:
    return float(next(model.visual.parameters()).flatten()[0])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_it_is_the_model_whose_loss_is_least(share: float) -> None:
    torch.manual_seed(0)
    start = tiny_latent_clip(LatentSpace("AutoencoderKL", 4, 8))
    tuned = copy.deepcopy(start)
    with torch.no_grad():
        for weight in tuned.visual.parameters():
            weight.add_(1.0)
        tuned.logit_scale += 1.0
    before = start.fingerprint(), tuned.fingerprint()
    found = between(start, tuned, lambda model: abs(first_weight(model) - first_weight(start) - share))
    assert first_weight(found) == pytest.approx(first_weight(start) + share, abs=1e-5)
    assert torch.equal(found.logit_scale, tuned.logit_scale)
    assert (start.fingerprint(), tuned.fingerprint()) == before
