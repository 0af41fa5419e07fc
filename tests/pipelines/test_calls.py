"""The ways of calling a guarded pipeline, family by family, and what is left of the guard afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.guidance.policy import BLOCK, STEER
from latent_guard.pipelines.prompt_truncation import longest_context_tokenizer
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_guard
from tests.pipelines.tiny import BATCH, BY_NAME, Family, generators, raw

NEVER, ALWAYS = 1e3, -1e3
PUSHES = replace(STEER, window=(1.0, 0.0))
# One of each layout, and of each way of predicting.
DIFFERENT = [
    "StableDiffusionXLPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusion3Pipeline",
    "FluxPipeline",
    "PixArtAlphaPipeline",
    "LatentConsistencyModelPipeline",
]
different_families = pytest.mark.parametrize("family", [BY_NAME[name] for name in DIFFERENT], ids=DIFFERENT)


def untouched(pipe: Any) -> bool:
    own = ("prepare_latents", "prepare_mask_latents")
    return "step" not in vars(pipe.scheduler) and not any(name in vars(pipe) for name in own)


@pytest.mark.parametrize("name", [name for name in DIFFERENT if name != "StableDiffusion3Pipeline"])
def test_several_images_a_prompt_and_one_generator_for_all(name: str) -> None:
    family = BY_NAME[name]  # Stable Diffusion 3 does not repeat embeddings that it is given
    pipe = family.pipeline()
    one = {k: v[:1] if isinstance(v, (Tensor, list)) else v for k, v in family.arguments.items()}
    one = {**one, "num_images_per_prompt": BATCH}
    plain = family.call(pipe, **{**one, "generator": generators(4)[0]})
    with linear_guard(NEVER).attach(pipe) as watch:
        assert torch.equal(family.call(pipe, **{**one, "generator": generators(4)[0]}), plain)
    assert [v.image for v in watch.verdicts] == [0, 1, 2]


@different_families
def test_the_same_under_inference_mode(family: Family) -> None:
    pipe = family.pipeline()
    results = []
    for policy in (PUSHES, BLOCK):
        with linear_guard(ALWAYS, policy).attach(pipe), torch.inference_mode():
            inside = family.call(pipe)
        with linear_guard(ALWAYS, policy).attach(pipe):
            assert torch.equal(family.call(pipe), inside)
        results.append(inside)
    assert not torch.equal(*results)


@different_families
def test_an_error_in_mid_call_leaves_nothing_behind(family: Family) -> None:
    pipe = family.pipeline()
    plain = family.call(pipe)
    broken = linear_guard(ALWAYS, PUSHES, BrokenLatentCLIP(error=ValueError("out of order")))
    with pytest.raises(GuardError, match="out of order"), broken.attach(pipe):
        family.call(pipe)
    assert untouched(pipe)
    assert torch.equal(family.call(pipe), plain)


@different_families
def test_two_threads_with_their_own_pipelines_share_a_guard(family: Family) -> None:
    guard = linear_guard(ALWAYS, PUSHES)
    pipes = {seed: family.pipeline() for seed in (10, 20)}

    def guarded(seed: int) -> Tensor:
        with guard.attach(pipes[seed]) as watch:
            latents = family.call(pipes[seed], generator=generators(seed, seed + 1, seed + 2))
        assert len(watch.verdicts) == BATCH
        return latents  # type: ignore[no-any-return]

    alone = [guarded(seed) for seed in (10, 20)]
    with ThreadPoolExecutor(2) as pool:
        for together, expected in zip(pool.map(guarded, (10, 20)), alone, strict=True):
            assert torch.equal(together, expected)


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SWAPPED = [
    ("StableDiffusionXLPipeline", diffusers.DDIMScheduler(clip_sample=False)),
    ("StableDiffusionPipeline", diffusers.PNDMScheduler(skip_prk_steps=True)),
    ("StableDiffusionPipeline", diffusers.TCDScheduler()),
    ("StableDiffusionPipeline", diffusers.UniPCMultistepScheduler()),
    ("PixArtAlphaPipeline", diffusers.EulerAncestralDiscreteScheduler()),
    ("FluxPipeline", diffusers.UniPCMultistepScheduler(**FLOW, use_dynamic_shifting=True)),
    ("StableDiffusion3Pipeline", diffusers.DPMSolverMultistepScheduler(**FLOW)),
]
swapped = pytest.mark.parametrize(
    ("name", "scheduler"), SWAPPED, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)


@swapped
def test_the_scheduler_may_be_swapped_between_two_blocks(name: str, scheduler: Any) -> None:
    family = BY_NAME[name]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    guard = linear_guard(NEVER, model=critic)
    with guard.attach(pipe):
        family.call(pipe)
    first = pipe.scheduler
    pipe.scheduler = scheduler
    plain = family.call(pipe)
    with guard.attach(pipe) as watch:
        assert torch.equal(family.call(pipe), plain)
    torch.testing.assert_close(watch.checks[-1].scores[:, 0], critic.score(raw(pipe, plain)).detach())
    assert untouched(pipe)
    assert "step" not in vars(first)


@swapped
def test_steering_lowers_the_score_under_every_scheduler(name: str, scheduler: Any) -> None:
    family = BY_NAME[name]
    pipe = family.pipeline(blank=True)
    pipe.scheduler = scheduler
    scores = []
    for threshold in (NEVER, ALWAYS):
        with linear_guard(threshold, PUSHES).attach(pipe) as watch:
            family.call(pipe, num_inference_steps=6)
        scores.append(watch.checks[-1].scores)
    assert (scores[1] < scores[0]).all()


def test_generate_runs_the_unsafe_image_of_an_inpainting_batch_again_with_its_own_picture_and_mask() -> None:
    family = BY_NAME["StableDiffusionXLInpaintPipeline"]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    arguments = {k: v for k, v in family.arguments.items() if k != "prompt"}
    arguments |= {"num_inference_steps": 3, "output_type": "latent", "negative_prompt_2": ["x", "y", "z"]}
    prompts = family.arguments["prompt"]
    plain = linear_guard(NEVER).generate(pipe, prompts, seed=1, **arguments)
    scores = critic.score(raw(pipe, plain.images)).detach()
    worst = int(scores.argmax())
    threshold = float(scores[worst]) - 1e-4
    output = linear_guard(threshold, replace(BLOCK, retries=1), critic).generate(pipe, prompts, seed=1, **arguments)
    for image, verdict in enumerate(output.verdicts):
        assert verdict.cost.retries == (image == worst)
        assert torch.equal(output.images[image], plain.images[image]) == (image != worst)


def test_words_count_as_dropped_only_if_no_text_encoder_reads_them() -> None:
    pipe = BY_NAME["StableDiffusionXLPipeline"].pipeline()
    pipe.tokenizer_2.model_max_length = 1000
    assert longest_context_tokenizer(pipe) is pipe.tokenizer_2
    assert longest_context_tokenizer(BY_NAME["FluxPipeline"].pipeline()) is None
