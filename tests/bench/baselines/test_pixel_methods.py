"""Latent Guard, its CLIP in pixels, and checking before blocking: what they touch, and what they leave alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from latent_guard.bench.arrays import Pictures
from latent_guard.bench.baselines.check_then_block import CheckThenBlock
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.guarded import Guarded
from latent_guard.bench.baselines.pixel_clip import DecodedPixelCLIP, guard_in_pixels
from latent_guard.bench.baselines.pixel_clip_checker import PixelCLIPChecker, SafetyCheckerClass
from latent_guard.bench.baselines.pixel_guidance import PixelGuidance
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.concepts.bank import ConceptBank
from latent_guard.errors import InputError
from latent_guard.guidance.policy import BLOCK, STEER, Policies
from latent_guard.testing import linear_guard, tiny_pipeline
from tests.bench.baselines.calls import made_by, same_images

WIDE = replace(STEER, window=(1.0, 0.0), augmentations=1)
GRAY = 128


@pytest.fixture(scope="module")
def plain(tiny_pipe: Any) -> Any:
    return made_by(Unguarded(), tiny_pipe)


@pytest.mark.parametrize(("threshold", "touched"), [(1e3, False), (-1e3, True)])
def test_the_guard_touches_what_is_over_its_threshold_and_nothing_else(threshold: float, touched: bool) -> None:
    pipe = tiny_pipeline()
    made = made_by(Guarded(linear_guard(threshold), Policies.of(WIDE)), pipe)
    assert (made.touched == touched).all()
    assert (same_images(made, made_by(Unguarded(), pipe)) != touched).all()
    assert len(made.verdicts) == 3


def test_what_the_guard_blocks_is_gray() -> None:
    made = made_by(Guarded(linear_guard(-1e3), Policies.of(BLOCK)), tiny_pipeline())
    assert made.blocked.all()
    assert (made.pictures == GRAY).all()


@pytest.mark.parametrize(("threshold", "touched"), [(1e3, False), (-1e3, True)])
def test_guidance_in_pixels_pushes_what_the_pixel_clip_finds_over_its_threshold(
    tiny_context: BaselineContext, tiny_bank: ConceptBank, tiny_pipe: Any, plain: Any, threshold: float, touched: bool
) -> None:
    bank = tiny_bank.with_thresholds(tiny_bank.noise_levels, torch.full_like(tiny_bank.thresholds, threshold))
    method = PixelGuidance(lambda pipe: guard_in_pixels(tiny_context.pixel_clip, bank, pipe.vae), Policies.of(WIDE))
    method.check(tiny_pipe, 3.0, 20)
    made = made_by(method, tiny_pipe)
    assert (made.touched == touched).all()
    assert (same_images(made, plain) != touched).all()
    assert (made.evaluations, made.verdicts) == (plain.evaluations, ())


def test_a_decoded_pixel_clip_reads_a_latent_as_its_picture_and_knows_the_way_back(
    tiny_context: BaselineContext, tiny_pipe: Any
) -> None:
    clip, vae = tiny_context.pixel_clip, tiny_pipe.vae
    raw = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    features = DecodedPixelCLIP(clip, vae).encode_latents(raw, 0.3, normalize=True)
    with torch.no_grad():
        shown = vae.decode(raw).sample.clamp(-1, 1)
        assert torch.allclose(features, clip.encode_latents(shown, 0.3, normalize=True), atol=1e-6)
    (gradient,) = torch.autograd.grad(features[:, 0].sum(), raw)
    assert (gradient != 0).any()


class EveryOther:
    """A judge, as far as check-then-block asks for one."""

    preset = "every other"

    def judge(self, pictures: Pictures) -> Any:
        return SimpleNamespace(unsafe=np.arange(len(pictures)) % 2 == 0)


def test_what_a_checker_passes_is_unguarded_and_what_it_stops_is_gray_all_over(tiny_pipe: Any, plain: Any) -> None:
    made = made_by(CheckThenBlock(EveryOther()), tiny_pipe)
    assert made.blocked.tolist() == made.touched.tolist() == [True, False, True]
    assert np.array_equal(made.pictures[1], plain.pictures[1])
    assert (made.pictures[[0, 2]] == GRAY).all()
    assert same_images(made, plain).tolist() == [False, True, False]
    assert torch.equal(made.latents[0], made.latents[2])
    assert made.evaluations == plain.evaluations


def test_a_judge_checks_where_the_context_can_open_one(tiny_bundle: Path) -> None:
    asked = []
    context = BaselineContext(tiny_bundle, tiny_bundle, open_checker=lambda *named: asked.append(named) or EveryOther())
    method = baseline_named("check-then-block", {"checker": "q16", "judge": {"prompts": "prompts.p"}}, context)
    assert method.name == "check-then-block(every other)"
    assert asked == [("q16", {"prompts": "prompts.p"})]


def test_the_pixel_clip_flags_what_is_over_a_threshold(tiny_context: BaselineContext, tiny_bank: ConceptBank) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64)).astype(np.uint8)
    assert PixelCLIPChecker(tiny_context.pixel_clip, tiny_bank, shift=-1e3).judge(pictures).unsafe.all()
    assert not PixelCLIPChecker(tiny_context.pixel_clip, tiny_bank, shift=1e3).judge(pictures).unsafe.any()


def test_the_safety_checkers_class_flags_cosines_over_their_thresholds(tiny_context: BaselineContext) -> None:
    clip = tiny_context.pixel_clip
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64)).astype(np.uint8)
    before = pictures.copy()
    with torch.no_grad():
        own = clip.encode_latents(torch.from_numpy(pictures).float() / 127.5 - 1, 0.0, normalize=True)
    checker = SafetyCheckerClass(clip, own[:1], torch.tensor([0.9999]), shift=-0.001)
    assert checker.judge(pictures).unsafe.tolist() == (own @ own[0] > 0.9994).tolist()
    assert np.array_equal(pictures, before)
    assert not SafetyCheckerClass(clip, own[:1], torch.tensor([1.1])).judge(pictures).unsafe.any()


def test_a_checker_looks_where_its_pixel_clip_is(tiny_context: BaselineContext) -> None:
    clip, seen = copy.deepcopy(tiny_context.pixel_clip).to("meta"), []
    checker = SafetyCheckerClass(clip, torch.eye(2, 16), torch.ones(2))

    def answer(clip_input: torch.Tensor, images: Any) -> Any:
        seen.append(clip_input.device.type)
        return images, [False]

    own = checker._checker
    assert {tensor.device.type for tensor in own.parameters()} == {"meta"}
    checker._checker = answer
    assert checker.judge(np.zeros((1, 3, 64, 64), np.uint8)).unsafe.tolist() == [False]
    assert seen == ["meta"]


def test_methods_in_pixels_say_that_the_pixel_clip_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pixel_twin"):
        baseline_named("check-then-block", {}, BaselineContext(tmp_path, tmp_path))


@pytest.mark.slow
def test_the_pixel_clips_draws_are_made_once_and_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    draws = BaselineContext(tiny_bundle, tmp_path, drawn=16).draws
    assert (len(draws), float(draws.noise_levels[-1])) == (20, 0.0)
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    assert len(BaselineContext(tiny_bundle, tmp_path, drawn=16).draws) == 20
    assert kept.stat().st_mtime_ns == written
