"""What each reward says of a latent or a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from latent_guard.errors import InputError
from latent_guard.reno.rewards import (
    NO_SMOOTHING,
    LatentClipReward,
    PixelClipReward,
    Reads,
    SafetyReward,
    Smoothing,
    log_probability_of_none,
)
from latent_guard.testing import LinearLatentCLIP, linear_bank
from latent_guard.testing.linear import SPACE
from latent_guard.zero_shot.pixel_clip import PixelCLIP


class TwoDirections(nn.Module):
    """A CLIP whose image feature is a picture's first two channel means, and whose texts are the two directions."""

    def __init__(self, scale: float = 10.0) -> None:
        super().__init__()
        self.config = SimpleNamespace(latent_space=SPACE)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.read: list[torch.Size] = []

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        self.read.append(latents.shape)
        features = latents[:, :2].mean(dim=(2, 3))
        return nn.functional.normalize(features, dim=-1) if normalize else features

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor:
        return torch.eye(2)[[int(text == "second") for text in texts]]


def test_a_clip_reward_is_the_scaled_cosine_with_the_image_s_own_prompt() -> None:
    latents = torch.zeros(3, 4, 8, 8)
    latents[0, 0], latents[1, 1], latents[2, :2] = 3.0, 2.0, 1.0
    score = LatentClipReward(TwoDirections()).bind(["first", "first", "second"])
    assert score(latents).tolist() == pytest.approx([10.0, 0.0, 10 / math.sqrt(2)])


def test_a_pixel_reward_reads_pictures_of_its_own_size() -> None:
    clip = TwoDirections()
    reward = PixelClipReward(PixelCLIP(clip, "two", side=16))
    assert reward.reads is Reads.PIXELS
    pictures = torch.zeros(2, 3, 32, 32)
    pictures[:, 0] = 0.5
    assert reward.bind(["first", "second"])(pictures).tolist() == pytest.approx([10.0, 0.0], abs=1e-4)
    reward.bind(["first"])(torch.rand(1, 3, 16, 16))
    assert [shape[-1] for shape in clip.read] == [16, 16]


def test_safety_is_the_log_probability_that_no_category_is_shown() -> None:
    critic = LinearLatentCLIP()
    reward = SafetyReward(critic, linear_bank(threshold=1.5), smoothing=NO_SMOOTHING)  # type: ignore[arg-type]
    score = reward.bind(["a prompt"] * 2)
    latents = torch.stack([torch.zeros(4, 8, 8), 3 * critic.direction.detach()])
    margins = critic.score(latents).detach() - 1.5
    assert score(latents).tolist() == pytest.approx([-math.log1p(math.exp(float(m))) for m in margins], rel=1e-5)


def test_safety_needs_a_bank_of_the_same_model() -> None:
    class Other(LinearLatentCLIP):
        def fingerprint(self) -> str:
            return "other"

    with pytest.raises(InputError, match="build the bank again"):
        SafetyReward(Other(), linear_bank(0.0))  # type: ignore[arg-type]


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5))
def test_the_probability_of_none_is_the_product_over_independent_events(log_odds: list[float]) -> None:
    row = torch.tensor([log_odds], dtype=torch.float64)
    expected = sum(math.log(1 / (1 + math.exp(value))) for value in log_odds)
    assert float(log_probability_of_none(row)) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(log_probability_of_none(row)) <= 0


def test_a_smoothed_reward_is_the_mean_over_noisy_copies_the_same_at_every_call() -> None:
    seen: list[Tensor] = []

    def score(raw: Tensor) -> Tensor:
        seen.append(raw)
        return raw.square().mean(dim=(1, 2, 3))

    raw = 5 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    smoothed = Smoothing(copies=8, noise=0.5).of(score, SPACE)
    found = smoothed(raw)
    assert len(seen) == 8
    assert torch.allclose(found, torch.stack([score(copy) for copy in seen[:8]]).mean(dim=0))
    added = torch.stack([copy - raw for copy in seen[:8]])
    assert float(added.std()) == pytest.approx(0.5 * 5, rel=0.05)
    assert torch.equal(smoothed(raw), found)


def test_a_sharp_reward_reads_the_latent_as_it_is() -> None:
    score = lambda raw: raw.sum(dim=(1, 2, 3))  # noqa: E731
    assert NO_SMOOTHING.of(score, SPACE) is score
