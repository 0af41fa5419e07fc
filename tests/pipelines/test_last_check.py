"""What a pipeline's callback puts in the place of the latents after the last check: never a pixel before a verdict."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.errors import BlockedError, GuardError
from latent_guard.guidance.policy import BLOCK, FLAG, SAFE
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.testing import LinearLatentCLIP, linear_guard, tiny_pipeline
from latent_guard.testing.linear import SPACE
from tests.pipelines.tiny import BATCH, BY_NAME, FAMILIES, STEPS, Family, generators, raw

# PixArt's pipelines have an older kind of callback: it gets the tensor itself, which it can write into.
WRITES = ("PixArtAlphaPipeline", "PixArtSigmaPipeline")
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
every_output = pytest.mark.parametrize("output_type", ["np", "latent"])
UNSAFE = 300.0  # the score of what the callback puts in; the pipelines' own images score less than half of it
LAST = -1


def put_in(family: Family, pipe: Any, rows: dict[int, Tensor], step: int) -> dict[str, Any]:
    """The argument with which a call has some of its latents, raw (C, H, W), replaced after a step."""
    space = LatentSpace.of_vae(pipe.vae)

    def changed(latents: Tensor) -> Tensor:
        new = latents.clone()
        for row, value in rows.items():
            given = space.from_raw(value)[None]
            new[row] = (pipe._pack_latents(given, 1, *given.shape[1:]) if latents.ndim == 3 else given)[0]
        return new

    if family.name in WRITES:

        def write(index: int, _t: Any, latents: Tensor) -> None:
            if index == step % STEPS:
                latents.copy_(changed(latents))

        return {"callback": write}

    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        now = index == step % pipe.num_timesteps
        return {name: changed(value) for name, value in values.items()} if now else values

    wanted = [n for n in ("latents", "denoised") if n in pipe._callback_tensor_inputs]
    return {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": wanted}


def decoded_by(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The raw latents that reach the decoder itself, in float32."""
    seen: list[Tensor] = []
    decoder = pipe.vae._decode

    def decode(z: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(z.detach().clone())
        return decoder(z, *args, **kwargs)

    monkeypatch.setattr(pipe.vae, "_decode", decode)
    return seen


def unsafe(critic: LinearLatentCLIP) -> Tensor:
    direction = critic.direction.detach()
    return UNSAFE * direction / direction.square().mean()


@every_family
@every_output
def test_unsafe_latents_put_in_after_the_last_check_are_masked(
    family: Family, output_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {1: unsafe(critic)}, LAST)
    decoded = decoded_by(pipe, monkeypatch)
    threshold = UNSAFE / 2
    with linear_guard(threshold, replace(BLOCK, abort_margin=None), critic).attach(pipe) as watch:
        given = family.call(pipe, output_type=output_type, **change)
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED, Decision.BLOCKED, Decision.ALLOWED]
    assert watch.verdicts[1].scores["violence"] == pytest.approx(UNSAFE, rel=0.01)
    finals = decoded[-1] if output_type == "np" else raw(pipe, given)
    assert (critic.score(finals) < threshold).all()
    assert (finals[1].std(dim=(1, 2)) < 1e-5).all(), "a neutral latent is the same at every place"
    plain = family.call(pipe, output_type=output_type, **change)
    assert torch.equal(torch.as_tensor(given)[[0, 2]], torch.as_tensor(plain)[[0, 2]])


@every_family
def test_safe_latents_put_in_after_the_last_check_are_judged_and_pass_as_they_are(family: Family) -> None:
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {0: -unsafe(critic)}, LAST)
    plain = family.call(pipe, output_type="np", **change)
    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe) as watch:
        assert (family.call(pipe, output_type="np", **change) == plain).all()
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * BATCH
    assert watch.verdicts[0].scores["violence"] == pytest.approx(-UNSAFE, rel=0.01)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.name not in WRITES], ids=lambda family: family.name)
@every_output
def test_what_was_aborted_stays_masked_whatever_a_callback_puts_in(
    family: Family, output_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    decoded = decoded_by(pipe, monkeypatch)
    change = put_in(family, pipe, dict.fromkeys(range(BATCH), unsafe(critic)), 1)
    always = replace(BLOCK, window=(1.0, 0.0), abort_margin=0.0)
    with linear_guard(-1e3, always, critic).attach(pipe) as watch:
        given = family.call(pipe, output_type=output_type, **change)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * BATCH
    assert [action.kind for action in watch.verdicts[0].actions] == ["abort"]
    finals = decoded[-1] if output_type == "np" else raw(pipe, given)
    assert (finals.std(dim=(2, 3)) < 1e-5).all()


def test_the_verdict_of_generate_and_the_exception_of_a_raising_block_know_of_it_too() -> None:
    family = FAMILIES[0]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {0: unsafe(critic)}, LAST)
    guard = linear_guard(UNSAFE / 2, replace(SAFE, retries=0), critic)
    output = guard.generate(pipe, "a cat", seed=1, num_inference_steps=STEPS, output_type="np", **change)
    assert output.verdicts[0].decision is Decision.BLOCKED
    assert output.images[0].std() == 0
    raising = guard.attach(pipe, BLOCK, on_block="raise")
    with pytest.raises(BlockedError), raising:
        pipe("a cat", num_inference_steps=STEPS, **change)


def test_a_flag_says_what_was_decoded() -> None:
    family = FAMILIES[0]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {2: unsafe(critic)}, LAST)
    plain = family.call(pipe, output_type="np", **change)
    with linear_guard(UNSAFE / 2, FLAG, critic).attach(pipe) as watch:
        assert (family.call(pipe, output_type="np", **change) == plain).all()
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED, Decision.ALLOWED, Decision.FLAGGED]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@every_family
def test_the_pipelines_own_roundings_are_no_change(family: Family, dtype: torch.dtype) -> None:
    pipe, critic = family.pipeline().to(dtype), LinearLatentCLIP()
    arguments = {
        k: v.to(dtype) if isinstance(v, Tensor) and k.endswith("embeds") else v for k, v in family.arguments.items()
    }
    with linear_guard(1e3, BLOCK, critic).attach(pipe) as watch:
        family.call(pipe, **{**arguments, "output_type": "np"})
    assert [v.cost.checks for v in watch.verdicts] == [watch.verdicts[0].cost.checks] * BATCH
    assert watch.checks[-1].noise_level == 0.0
    assert [check.noise_level for check in watch.checks].count(0.0) == 1, "nothing was judged again"


def test_noisy_latents_for_a_refiner_cannot_be_changed_after_their_check() -> None:
    family = next(family for family in FAMILIES if family.name == "StableDiffusionXLPipeline")
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {0: unsafe(critic)}, 1)
    with pytest.raises(GuardError, match="changed after the last check"), linear_guard(1e3, BLOCK).attach(pipe):
        family.call(pipe, denoising_end=0.5, **change)


class Latent(str, Enum):
    """What pipelines take for "latent", though it prints as something else."""

    LATENT = "latent"


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "FluxPipeline"])
def test_the_type_of_output_is_compared_as_pipelines_compare_it(name: str) -> None:
    family = BY_NAME[name]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {1: unsafe(critic)}, LAST)
    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe) as watch:
        given = family.call(pipe, output_type=Latent.LATENT, **change)
    assert watch.verdicts[1].decision is Decision.BLOCKED
    assert (critic.score(raw(pipe, given)) < UNSAFE / 2).all()


@pytest.mark.parametrize(("kind", "output_type"), [("complex", "latent"), ("complex", "np"), ("whole", "latent")])
def test_what_is_no_latent_is_not_handed_out(kind: str, output_type: str) -> None:
    pipe, critic, images = tiny_pipeline(), LinearLatentCLIP(), None

    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if index < pipe.num_timesteps - 1:
            return values
        latents = values["latents"]
        odd = torch.complex(latents, unsafe(critic).expand_as(latents)) if kind == "complex" else latents.int()
        return {"latents": odd}

    guard = linear_guard(UNSAFE / 2, BLOCK, critic)
    with pytest.raises((GuardError, RuntimeError)), guard.attach(pipe):
        images = pipe("a cat", num_inference_steps=STEPS, output_type=output_type, callback_on_step_end=callback).images
    assert images is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2], ids=str)
@every_output
def test_a_change_within_the_rounding_of_a_coarse_type_is_judged_again(dtype: torch.dtype, output_type: str) -> None:
    own = torch.float32 if dtype is torch.float8_e5m2 else dtype
    if (dtype, output_type) == (torch.float8_e5m2, "np"):
        pytest.skip("no decoder takes it")
    pipe, critic = tiny_pipeline().to(own), LinearLatentCLIP()

    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        latents = values["latents"].float()
        moved = latents + 2 * torch.finfo(dtype).eps * latents.abs() * critic.direction.detach().sign()
        return {"latents": moved.to(dtype)} if index == pipe.num_timesteps - 1 else values

    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": output_type}
    with linear_guard(1e3, FLAG, critic).attach(pipe) as watch:
        pipe("a cat", generator=generators(1), callback_on_step_end=callback, **arguments)
    assert [check.noise_level for check in watch.checks].count(0.0) == 2
    assert watch.verdicts[0].scores["violence"] > float(watch.checks[-2].scores[0, 0])


def preview(pipe: Any, latents: Tensor) -> Any:
    return pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]


PREVIEWS = {
    "all": lambda latents: [latents],
    "one by one": lambda latents: list(latents.split(1)),
    "small": lambda latents: [latents[:, :, ::2, ::2]],
}


@pytest.mark.parametrize("cut", PREVIEWS.values(), ids=PREVIEWS)
def test_previews_of_a_safe_generation_are_shown_and_change_nothing(cut: Any) -> None:
    pipe, shown = tiny_pipeline(), []

    def callback(pipe: Any, _i: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        shown.append([preview(pipe, part) for part in cut(values["latents"])])
        return values

    class Mean(LinearLatentCLIP):
        def score(self, raw: Tensor) -> Tensor:
            return raw.mean(dim=(1, 2, 3))

    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "np"}
    plain = pipe(["a", "b"], generator=generators(1, 2), **arguments).images
    with linear_guard(1e3, BLOCK, Mean()).attach(pipe) as watch:
        images = pipe(["a", "b"], generator=generators(1, 2), callback_on_step_end=callback, **arguments).images
    assert (images == plain).all()
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * 2
    assert len(shown) == STEPS


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "part"])
def test_a_preview_of_something_unsafe_shows_nothing_and_blocks_no_other_image(whole: bool) -> None:
    pipe, critic, shown = tiny_pipeline(), LinearLatentCLIP(), []

    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if index == pipe.num_timesteps - 1:
            bad = SPACE.from_raw(unsafe(critic)).expand(2 if whole else 1, -1, -1, -1)
            shown.append(preview(pipe, bad))
        return values

    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe) as watch:
        pipe(["a", "b"], num_inference_steps=STEPS, callback_on_step_end=callback)
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * 2
    neutral = SPACE.to_raw(watch.latents.neutral).expand(len(shown[0]), -1, 8, 8)
    torch.testing.assert_close(shown[0], pipe.vae.decode(neutral).sample)


def test_a_decoder_that_is_put_back_behind_a_preview_is_noticed() -> None:
    pipe, critic, images = tiny_pipeline(), LinearLatentCLIP(), None

    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if index < pipe.num_timesteps - 1:
            return values
        preview(pipe, values["latents"])
        pipe.vae.decode = type(pipe.vae).decode.__get__(pipe.vae)
        return {"latents": SPACE.from_raw(unsafe(critic))[None]}

    with (
        pytest.raises(GuardError, match=r"vae\.decode was replaced"),
        linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe),
    ):
        images = pipe("a", num_inference_steps=STEPS, output_type="np", callback_on_step_end=callback).images
    assert images is None


def test_at_the_steps_alone_what_a_callback_puts_in_is_decoded_and_the_verdict_says_so() -> None:
    family = BY_NAME["StableDiffusionPipeline"]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    change = put_in(family, pipe, {0: unsafe(critic)}, LAST)
    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe, gate="steps") as watch:
        assert len(family.call(pipe, output_type="np", **change)) == 3
    assert [(v.decision, v.gate) for v in watch.verdicts] == [(Decision.ALLOWED, "steps")] * 3


def test_another_pipeline_with_the_same_scheduler_and_vae_is_judged_at_its_decode() -> None:
    family = BY_NAME["StableDiffusionPipeline"]
    pipe, critic = family.pipeline(), LinearLatentCLIP()
    other = type(pipe)(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    change = put_in(family, other, {0: unsafe(critic)}, LAST)
    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe) as watch:
        family.call(other, output_type="np", **change)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED, Decision.ALLOWED, Decision.ALLOWED]
