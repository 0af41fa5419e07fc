"""What a pipeline's callback puts in the place of the latents after the last look: never a pixel before a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard.errors import BlockedError, GuardError
from latent_guard.guidance.policy import BLOCK, FLAG, SAFE
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from tests.guidance.doubles import LinearCritic, linear_guard
from tests.guidance.families.tiny import BATCH, FAMILIES, STEPS, Family, raw

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


def unsafe(critic: LinearCritic) -> Tensor:
    direction = critic.direction.detach()
    return UNSAFE * direction / direction.square().mean()


@every_family
@every_output
def test_unsafe_latents_put_in_after_the_last_look_are_withheld(
    family: Family, output_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, critic = family.pipeline(), LinearCritic()
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
def test_safe_latents_put_in_after_the_last_look_are_judged_and_pass_as_they_are(family: Family) -> None:
    pipe, critic = family.pipeline(), LinearCritic()
    change = put_in(family, pipe, {0: -unsafe(critic)}, LAST)
    plain = family.call(pipe, output_type="np", **change)
    with linear_guard(UNSAFE / 2, BLOCK, critic).attach(pipe) as watch:
        assert (family.call(pipe, output_type="np", **change) == plain).all()
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED] * BATCH
    assert watch.verdicts[0].scores["violence"] == pytest.approx(-UNSAFE, rel=0.01)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.name not in WRITES], ids=lambda family: family.name)
@every_output
def test_what_was_given_up_stays_withheld_whatever_a_callback_puts_in(
    family: Family, output_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, critic = family.pipeline(), LinearCritic()
    decoded = decoded_by(pipe, monkeypatch)
    change = put_in(family, pipe, dict.fromkeys(range(BATCH), unsafe(critic)), 1)
    always = replace(BLOCK, window=(1.0, 0.0), abort_margin=0.0)
    with linear_guard(-1e3, always, critic).attach(pipe) as watch:
        given = family.call(pipe, output_type=output_type, **change)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * BATCH
    assert [action.kind for action in watch.verdicts[0].actions] == ["abandon"] * hasattr(pipe, "_interrupt")
    finals = decoded[-1] if output_type == "np" else raw(pipe, given)
    assert (finals.std(dim=(2, 3)) < 1e-5).all()


def test_the_verdict_of_generate_and_the_exception_of_a_raising_block_know_of_it_too() -> None:
    family = FAMILIES[0]
    pipe, critic = family.pipeline(), LinearCritic()
    change = put_in(family, pipe, {0: unsafe(critic)}, LAST)
    guard = linear_guard(UNSAFE / 2, replace(SAFE, restarts=0), critic)
    output = guard.generate(pipe, "a cat", seed=1, num_inference_steps=STEPS, output_type="np", **change)
    assert output.verdicts[0].decision is Decision.BLOCKED
    assert output.images[0].std() == 0
    raising = guard.attach(pipe, BLOCK, on_block="raise")
    with pytest.raises(BlockedError), raising:
        pipe("a cat", num_inference_steps=STEPS, **change)


def test_a_flag_says_what_was_decoded() -> None:
    family = FAMILIES[0]
    pipe, critic = family.pipeline(), LinearCritic()
    change = put_in(family, pipe, {2: unsafe(critic)}, LAST)
    plain = family.call(pipe, output_type="np", **change)
    with linear_guard(UNSAFE / 2, FLAG, critic).attach(pipe) as watch:
        assert (family.call(pipe, output_type="np", **change) == plain).all()
    assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED, Decision.ALLOWED, Decision.FLAGGED]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@every_family
def test_the_pipelines_own_roundings_are_no_change(family: Family, dtype: torch.dtype) -> None:
    pipe, critic = family.pipeline().to(dtype), LinearCritic()
    arguments = {
        k: v.to(dtype) if isinstance(v, Tensor) and k.endswith("embeds") else v for k, v in family.arguments.items()
    }
    with linear_guard(1e3, BLOCK, critic).attach(pipe) as watch:
        family.call(pipe, **{**arguments, "output_type": "np"})
    assert [v.cost.looks for v in watch.verdicts] == [watch.verdicts[0].cost.looks] * BATCH
    assert watch.looks[-1].noise_level == 0.0
    assert [look.noise_level for look in watch.looks].count(0.0) == 1, "nothing was judged again"


def test_noisy_latents_for_a_refiner_cannot_be_changed_after_their_look() -> None:
    family = next(family for family in FAMILIES if family.name == "StableDiffusionXLPipeline")
    pipe, critic = family.pipeline(), LinearCritic()
    change = put_in(family, pipe, {0: unsafe(critic)}, 1)
    with pytest.raises(GuardError, match="changed after the last look"), linear_guard(1e3, BLOCK).attach(pipe):
        family.call(pipe, denoising_end=0.5, **change)
