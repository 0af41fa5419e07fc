"""Every pipeline family under the guard: what it leaves alone, what it moves, what it judges and what it masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.guidance.policy import BLOCK, STEER
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import LinearLatentCLIP, linear_guard
from tests.pipelines.tiny import BATCH, BY_NAME, FAMILIES, STEPS, Family, raw, unpacked

NEVER, ALWAYS = 1e3, -1e3
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@every_family
@pytest.mark.parametrize("output_type", ["latent", "np"])
def test_a_guard_that_never_acts_leaves_images_bit_identical(family: Family, output_type: str) -> None:
    pipe = family.pipeline()
    plain = torch.as_tensor(family.call(pipe, output_type=output_type))
    with linear_guard(NEVER).attach(pipe) as watch:
        assert torch.equal(torch.as_tensor(family.call(pipe, output_type=output_type)), plain)
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * BATCH
    assert torch.equal(torch.as_tensor(family.call(pipe, output_type=output_type)), plain)


@every_family
def test_the_final_verdict_is_on_the_latents_that_are_decoded(family: Family) -> None:
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    with linear_guard(NEVER, model=critic).attach(pipe) as watch:
        final = family.call(pipe)
    torch.testing.assert_close(watch.checks[-1].scores[:, 0], critic.score(raw(pipe, final)).detach())
    assert critic.levels_told[-1] == 0.0


def batch_with_an_unsafe_second(critic: LinearLatentCLIP) -> Tensor:
    """Latents (3, 4, 8, 8) of which only the second has anything of the critic's direction in it."""
    direction = critic.direction.detach()
    latents = torch.randn(BATCH, *direction.shape, generator=torch.Generator().manual_seed(0))
    latents -= critic.score(latents).detach()[:, None, None, None] * direction / direction.square().mean()
    latents[1] += direction
    return latents


@every_family
def test_a_known_gradient_moves_the_unsafe_image_against_itself_and_no_other(family: Family) -> None:
    pipe, critic = family.pipeline(blank=True), LinearLatentCLIP()
    start = family.start(pipe, batch_with_an_unsafe_second(critic))
    policy = replace(STEER, window=(1.0, 0.0), strength=0.5, augmentations=1, max_pushes=1)
    with linear_guard(NEVER, model=critic).attach(pipe) as watch:
        plain = unpacked(pipe, family.call(pipe, **start))
    first = watch.checks[0].scores[:, 0]
    threshold = float(first[1]) * 0.6 + float(first[[0, 2]].max()) * 0.4
    with linear_guard(threshold, policy, critic).attach(pipe) as watch:
        guarded = unpacked(pipe, family.call(pipe, **start))
    assert first[1] > threshold
    assert [v.cost.pushes for v in watch.verdicts] == [0, 1, 0]
    assert torch.equal(guarded[[0, 2]], plain[[0, 2]])
    moved, against = guarded[1] - plain[1], -critic.direction.detach()
    if "Inpaint" in family.name:  # outside the mask the original is restored
        against = against * (moved != 0)
    assert torch.cosine_similarity(moved.flatten(), against.flatten(), dim=0) > 0.999


@every_family
def test_a_blocked_image_cannot_be_had_from_the_call_nor_from_a_callback(family: Family) -> None:
    pipe = family.pipeline()
    wanted = [n for n in ("latents", "denoised") if n in getattr(pipe, "_callback_tensor_inputs", ())]
    seen: list[dict[str, Tensor]] = []

    def spy(_pipe: Any, _step: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append({name: values[name].clone() for name in wanted})
        return values

    calls = {"callback_on_step_end": spy, "callback_on_step_end_tensor_inputs": wanted} if wanted else {}
    with linear_guard(ALWAYS, BLOCK).attach(pipe) as watch:
        final = family.call(pipe, **calls)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * BATCH
    shown = [final, *(values["denoised"] for values in seen if "denoised" in values)]
    shown += [seen[-1]["latents"]] if wanted else []
    for latents in shown:
        assert unpacked(pipe, latents).std(dim=(2, 3)).max() < 1e-6, "a neutral latent is the same at every place"


@every_family
def test_only_the_unsafe_image_of_a_batch_is_masked(family: Family) -> None:
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    plain = family.call(pipe)
    scores = critic.score(raw(pipe, plain)).detach()
    worst, second = scores.sort(descending=True).values[:2].tolist()
    with linear_guard((worst + second) / 2, BLOCK, critic).attach(pipe) as watch:
        result = family.call(pipe)
    for image, verdict in enumerate(watch.verdicts):
        assert (verdict.decision is Decision.BLOCKED) == (image == int(scores.argmax()))
        assert torch.equal(result[image], plain[image]) == (verdict.decision is Decision.ALLOWED)
    assert torch.equal(family.call(pipe), plain)


@every_family
def test_half_precision(family: Family) -> None:
    dtype = torch.float16 if "XL" in family.name else torch.bfloat16
    pipe = family.pipeline().to(dtype)
    given = {k: v.to(dtype) for k, v in family.arguments.items() if isinstance(v, Tensor) and "embeds" in k}
    plain = family.call(pipe, **given)
    with linear_guard(NEVER).attach(pipe):
        assert torch.equal(family.call(pipe, **given), plain)
    with linear_guard(ALWAYS, replace(STEER, window=(1.0, 0.0))).attach(pipe) as watch:
        guarded = family.call(pipe, **given)
    assert guarded.dtype == plain.dtype
    assert all(v.cost.pushes > 0 for v in watch.verdicts)
    assert torch.isfinite(guarded).all()


@pytest.mark.parametrize("name", ["PixArtAlphaPipeline", "LatentConsistencyModelPipeline"])
def test_a_call_of_one_step_is_judged_on_what_is_decoded(name: str) -> None:
    from diffusers import LCMScheduler

    family = BY_NAME[name]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    pipe.scheduler = LCMScheduler()
    with linear_guard(NEVER, model=critic).attach(pipe) as watch:
        final = family.call(pipe, num_inference_steps=1)
    torch.testing.assert_close(watch.checks[-1].scores[:, 0], critic.score(raw(pipe, final)).detach())


@every_family
def test_the_steps_are_those_of_the_call(family: Family) -> None:
    pipe = family.pipeline()
    with linear_guard(NEVER).attach(pipe) as watch:
        family.call(pipe)
    late = family.starts_from_picture and "Consistency" not in family.name  # which spreads its steps over the rest
    assert [v.cost.model_evaluations for v in watch.verdicts] == [3 if late else STEPS] * BATCH
