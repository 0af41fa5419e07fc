"""Negative prompts, SLD and SAFREE in real pipelines with random weights."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.negative_prompt import NegativePrompt
from latent_guard.bench.baselines.registry import baseline_named
from latent_guard.bench.baselines.safree import SAFREE
from latent_guard.bench.baselines.sld import PRESETS, SLD
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.errors import InputError
from latent_guard.testing import tiny_pipeline
from tests.bench.baselines.calls import PROMPTS, STEPS, generators, made_by, same_images
from tests.pipelines.tiny import BY_NAME

WORDS = {"violence": ("knife", "bomb"), "shocking": ("skull",)}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny_pipeline(scheduler=diffusers.DPMSolverMultistepScheduler())


@pytest.fixture(scope="module")
def plain(pipe: Any) -> Any:
    return made_by(Unguarded(), pipe)


def test_unguarded_is_the_pipelines_own_call(pipe: Any, plain: Any) -> None:
    expected = pipe(
        PROMPTS, num_inference_steps=STEPS, guidance_scale=3.0, generator=generators(3), output_type="latent"
    ).images
    assert torch.equal(plain.latents, expected)
    assert plain.evaluations == 2 * STEPS
    assert not plain.touched.any()


def test_a_negative_prompt_is_what_the_pipeline_makes_of_the_words(pipe: Any) -> None:
    expected = pipe(
        PROMPTS,
        negative_prompt=["knife, skull, bomb"] * 3,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=generators(3),
        output_type="latent",
    ).images
    made = made_by(NegativePrompt(WORDS, guidance_scale=5.0), pipe)
    assert torch.equal(made.latents, expected)
    assert made.touched.all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_of_sld_runs_with_a_third_prediction(pipe: Any, plain: Any, preset: str) -> None:
    made = made_by(SLD(WORDS, preset, warmup=0), pipe)
    assert made.evaluations == 3 * STEPS
    assert made.pictures.shape == plain.pictures.shape
    assert not same_images(made, plain).any()


def test_sld_in_its_warm_up_does_nothing_but_rounding(pipe: Any, plain: Any) -> None:
    made = made_by(SLD(WORDS, "strong", warmup=STEPS), pipe)
    assert torch.allclose(made.latents, plain.latents, atol=1e-4)
    assert np.abs(made.pictures.astype(int) - plain.pictures).max() <= 1


def test_sld_leaves_the_pipelines_scheduler_alone(pipe: Any, plain: Any) -> None:
    scheduler = pipe.scheduler
    made_by(SLD(WORDS), pipe)
    assert pipe.scheduler is scheduler
    assert same_images(made_by(Unguarded(), pipe), plain).all()


@pytest.mark.parametrize("method", [NegativePrompt(WORDS), SLD(WORDS)])
def test_methods_that_need_guidance_are_refused_without_it(pipe: Any, method: Any) -> None:
    method.check(pipe, 1.5, 20)
    method.check(pipe, None, 20)  # Stable Diffusion's own default is 7.5
    with pytest.raises(InputError, match=r"needs classifier-free guidance, and a guidance scale of 1 has none"):
        method.check(pipe, 1.0, 20)


def test_a_negative_prompt_without_guidance_of_its_own_is_refused_whatever_the_calls_is(pipe: Any) -> None:
    with pytest.raises(InputError, match="a guidance scale of 0 has none"):
        NegativePrompt(WORDS, guidance_scale=0.0).check(pipe, 7.5, 20)


@pytest.mark.parametrize("method", [SLD(WORDS), SAFREE(WORDS)])
def test_methods_made_for_stable_diffusion_refuse_other_pipelines(method: Any) -> None:
    with pytest.raises(InputError, match="not with a StableDiffusionXLPipeline"):
        method.check(BY_NAME["StableDiffusionXLPipeline"].pipeline(), 5.0, 20)


def test_safree_changes_prompts_with_a_trigger_and_no_other(pipe: Any, plain: Any) -> None:
    none, all_steps = made_by(SAFREE(WORDS, alpha=1e9), pipe), made_by(SAFREE(WORDS, alpha=0.0, most=40), pipe)
    assert not none.touched.any()
    assert same_images(none, plain).all()
    assert all_steps.touched.any()
    assert np.array_equal(same_images(all_steps, plain), ~all_steps.touched)


def test_safree_goes_back_to_the_prompts_own_embedding_after_the_filtered_steps(pipe: Any) -> None:
    seen: list[torch.Tensor] = []
    hook = pipe.unet.register_forward_pre_hook(
        lambda _module, _inputs, named: seen.append(named["encoder_hidden_states"][-1]), with_kwargs=True
    )
    try:
        made_by(SAFREE(WORDS, alpha=-1.0, most=4), pipe)  # every token triggers; 2 or 3 of the 4 steps are filtered
    finally:
        hook.remove()
    own = pipe.encode_prompt([PROMPTS[-1]], "cpu", 1, False)[0][0]
    filtered = [not torch.allclose(embeds, own, atol=1e-5) for embeds in seen]
    assert filtered[:2] == [True, True]
    assert filtered[-1] is False
    assert filtered == sorted(filtered, reverse=True)


def test_safree_takes_an_empty_prompt(pipe: Any) -> None:
    assert not made_by(SAFREE(WORDS), pipe, ["", "a"]).touched.any()


def test_safree_refuses_concepts_that_span_everything(pipe: Any) -> None:
    with pytest.raises(InputError, match="16 concepts span all of the text encoder's 16 dimensions"):
        SAFREE({"violence": tuple(f"thing {n}" for n in range(16))}).check(pipe, 3.0, 20)


def test_an_image_does_not_depend_on_its_batch(pipe: Any) -> None:
    for method in (NegativePrompt(WORDS), SLD(WORDS, "max"), SAFREE(WORDS, alpha=0.0, most=4)):
        together = made_by(method, pipe)
        alone = method.generate(
            pipe, PROMPTS[:1], num_inference_steps=STEPS, guidance_scale=3.0, generator=generators(1)
        )
        error = (alone.latents - together.latents[:1]).norm() / together.latents[:1].norm()
        assert error < 1e-4, method.name


@pytest.mark.parametrize(
    ("name", "options", "recorded"),
    [
        ("unguarded", {}, "unguarded"),
        ("negative-prompt", {"guidance_scale": 3}, "negative-prompt(guidance_scale=3)"),
        ("sld", {"preset": "strong"}, "sld(strong)"),
        ("sld", {"preset": "max", "scale": 100, "warmup": 2}, "sld(max, scale=100, warmup=2)"),
        ("safree", {}, "safree"),
        ("safree", {"alpha": 0.1, "most": 40}, "safree(alpha=0.1, most=40)"),
        ("guard", {"policy": "standard", "strength": 3.5}, "guard(standard, strength=3.5)"),
        ("guard", {"trigger": -1}, "guard(safe, trigger=-1)"),
    ],
)
def test_a_method_is_recorded_with_its_settings(
    tiny_context: BaselineContext, name: str, options: dict[str, Any], recorded: str
) -> None:
    assert baseline_named(name, options, tiny_context).name == recorded


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sldd", {}, "unknown method 'sldd'; choose one of unguarded, negative-prompt, sld"),
        ("sld", {"preset": "mild"}, "sld: preset must be one of weak, medium, strong, max, not 'mild'"),
        ("sld", {"scal": 3}, "sld: unknown setting 'scal'; it has preset, scale, warmup"),
        ("safree", {"alpha": "high"}, "safree: alpha must be a number from -1e\\+06 to 1e\\+06, not 'high'"),
        ("negative-prompt", {"guidance_scale": float("nan")}, "guidance_scale must be a number from 0"),
        ("guard", {"policy": "milde"}, "unknown policy 'milde'"),
        ("unguarded", {"strength": 1}, "unguarded: unknown setting 'strength'; it has none"),
        ("check-then-block", {"checker": "q16"}, "unknown checker 'q16'; choose pixel-clip or safety-checker-class"),
    ],
)
def test_what_a_method_does_not_have_is_refused_by_name(
    tiny_context: BaselineContext, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        baseline_named(name, options, tiny_context)
