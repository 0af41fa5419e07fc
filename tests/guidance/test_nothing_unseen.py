"""Inside `with guard.attach(pipe)` nothing goes unverified: what hides a call from the guard is an error."""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MethodType
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latent_guard.errors import GuardError, InputError, UnsupportedPipelineError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, FLAG, SAFE
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision
from latent_guard.pipelines import hook
from latent_guard.testing import LinearLatentCLIP, linear_bank, linear_guard, tiny_pipeline
from latent_guard.testing.pipelines import DDIM, tiny_vae
from tests.pipelines.tiny import BY_NAME, FAMILIES, Family, generators, pictures

NEVER, ALWAYS = 1e3, -1e3
STEPS = 4
PATIENT = replace(BLOCK, abort_margin=None)
Callback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]]


def run(pipe: Any, **changes: Any) -> Any:
    arguments = {"num_inference_steps": STEPS, "generator": generators(1, 2), "output_type": "np"}
    return pipe(["a cat", "a pistol"], **{**arguments, **changes}).images


def at_step(step: int, act: Callable[[Any], Any]) -> Callback:
    def callback(pipe: Any, index: int, _t: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if index == step:
            act(pipe)
        return values

    return callback


def rebind_step(pipe: Any) -> None:
    pipe.scheduler.step = type(pipe.scheduler).step.__get__(pipe.scheduler)


def copy_scheduler(pipe: Any) -> None:
    pipe.scheduler = copy.deepcopy(pipe.scheduler)


def exchange_vae(pipe: Any) -> None:
    pipe.vae = tiny_vae(0.5)


def go_on(pipe: Any) -> None:
    pipe._interrupt = False


HIDDEN = [rebind_step, copy_scheduler, exchange_vae]


@pytest.mark.parametrize("hide", HIDDEN, ids=lambda hide: hide.__name__)
@pytest.mark.parametrize("when", ["before the call", 1, STEPS - 1])
@pytest.mark.parametrize("policy", [FLAG, PATIENT], ids=["flag", "block"])
def test_a_call_that_is_hidden_from_the_guard_hands_out_nothing(hide: Any, when: Any, policy: Any) -> None:
    if (hide, when) == (rebind_step, STEPS - 1):
        pytest.skip("the last step was made by then, and judged")
    pipe, images = tiny_pipeline(), None
    callback = {"callback_on_step_end": at_step(when, hide)} if isinstance(when, int) else {}
    with pytest.raises(GuardError), linear_guard(ALWAYS, policy).attach(pipe):  # noqa: PT012
        if not callback:
            hide(pipe)
        images = run(pipe, **callback)
    assert images is None
    pipe.scheduler, pipe.vae = tiny_pipeline().scheduler, tiny_pipeline().vae
    with linear_guard(NEVER).attach(pipe) as watch:
        run(pipe)
    assert len(watch.verdicts) == 2


@contextmanager
def counted_decodes(pipe: Any) -> Iterator[list[int]]:
    """The batches that reach the decoder itself."""
    seen: list[int] = []
    decode = pipe.vae._decode
    pipe.vae._decode = lambda z, *args, **kwargs: (seen.append(len(z)), decode(z, *args, **kwargs))[1]
    try:
        yield seen
    finally:
        del pipe.vae._decode


WITHOUT_A_STEP = {
    "StableDiffusionPipeline": {"num_inference_steps": 0},
    "StableDiffusionXLPipeline": {"num_inference_steps": 0},
    "StableDiffusionXLImg2ImgPipeline": {"strength": 0.3, "denoising_end": 0.5, "num_inference_steps": 10},
    "PixArtSigmaPipeline": {"num_inference_steps": 0},
    "LatentConsistencyModelPipeline": {"timesteps": []},
}


@pytest.mark.parametrize("output_type", ["np", "latent"])
@pytest.mark.parametrize("name", WITHOUT_A_STEP)
def test_a_call_without_a_step_is_an_error_before_a_pixel_is_made(name: str, output_type: str) -> None:
    family = BY_NAME[name]
    pipe, images = family.pipeline(), None
    # The pipelines themselves refuse some of these; whoever does, nothing comes out.
    attached = linear_guard(ALWAYS, BLOCK).attach(pipe)
    with counted_decodes(pipe) as decodes, pytest.raises(Exception) as raised, attached:  # noqa: PT011
        images = family.call(pipe, output_type=output_type, **WITHOUT_A_STEP[name])
    assert images is None
    assert decodes == []
    if isinstance(raised.value, GuardError):
        assert "no step of this call passed the guard" in str(raised.value)


def test_the_picture_of_image_to_image_without_a_step_is_not_handed_out_as_verified() -> None:
    family = BY_NAME["StableDiffusionXLImg2ImgPipeline"]
    with (
        pytest.raises(GuardError, match="no step of this call"),
        linear_guard(NEVER).attach(family.pipeline()) as watch,
    ):
        family.call(watch.pipe, output_type="np", **WITHOUT_A_STEP[family.name])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_guard_that_is_attached_but_never_entered_lets_the_pipeline_make_nothing(family: Family) -> None:
    pipe = family.pipeline()
    linear_guard(ALWAYS, BLOCK).attach(pipe)
    with pytest.raises(GuardError, match="never entered"):
        family.call(pipe)
    with linear_guard(NEVER).attach(pipe) as watch:
        family.call(pipe)
    assert len(watch.verdicts) == 3
    assert type(pipe) is getattr(diffusers, family.name.split("-")[0])
    family.call(pipe)


def test_an_attachment_is_entered_once() -> None:
    pipe = tiny_pipeline()
    attached = linear_guard(NEVER).attach(pipe)
    with attached:
        run(pipe)
    with pytest.raises(InputError, match="entered before"), attached:
        pass


def test_of_two_attachments_made_beforehand_the_second_gives_the_first_no_way_around_it() -> None:
    pipe = tiny_pipeline()
    first, second = linear_guard(NEVER).attach(pipe), linear_guard(ALWAYS, BLOCK).attach(pipe)
    with second as watch:
        with pytest.raises(InputError, match="attached"), first:
            pass
        run(pipe)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2
    run(pipe)


def test_two_threads_that_attach_to_one_pipeline_end_in_one_guard_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = hook._function_of

    def slowly(*arguments: Any) -> Any:
        found = original(*arguments)
        threading.Event().wait(0.005)  # what lies between looking and putting the hook there, made wider
        return found

    monkeypatch.setattr(hook, "_function_of", slowly)
    pipe, outcomes = tiny_pipeline(), []
    plain = run(pipe)
    ready = threading.Barrier(2)

    def guarded() -> None:
        ready.wait()
        try:
            with linear_guard(ALWAYS, BLOCK).attach(pipe) as watch:
                images = run(pipe)
            outcomes.append(len(watch.verdicts) == 2 and not (images == plain).all(axis=(1, 2, 3)).any())
        except (GuardError, InputError):
            outcomes.append(True)

    for _ in range(8):
        threads = [threading.Thread(target=guarded) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == [True] * 16
    assert type(pipe) is diffusers.StableDiffusionPipeline
    assert "step" not in vars(pipe.scheduler)
    assert "decode" not in vars(pipe.vae)


def test_a_thread_that_calls_an_attached_pipeline_beside_another_gets_an_error() -> None:
    pipe, errors = tiny_pipeline(), []

    def elsewhere(_pipe: Any) -> None:
        def call() -> None:
            with pytest.raises(GuardError, match="one call at a time") as raised:
                run(pipe)
            errors.append(raised.value)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    with linear_guard(NEVER).attach(pipe) as watch:
        run(pipe, callback_on_step_end=at_step(1, elsewhere))
    assert len(errors) == 1
    assert len(watch.verdicts) == 2


def test_an_interruption_that_a_callback_takes_back_is_an_error() -> None:
    pipe, images = tiny_pipeline(), None
    with (
        pytest.raises(GuardError, match="after its images were aborted"),
        linear_guard(ALWAYS, BLOCK).attach(pipe) as w,
    ):
        images = run(pipe, num_inference_steps=8, callback_on_step_end=lambda p, i, t, v: (go_on(p), v)[1])
    assert images is None
    assert [v.decision for v in w.verdicts] == [Decision.BLOCKED] * 2


def test_a_copy_of_a_guarded_scheduler_is_a_plain_one_after_the_block() -> None:
    pipe, copies = tiny_pipeline(), []
    with linear_guard(NEVER).attach(pipe):
        run(pipe, callback_on_step_end=at_step(1, lambda p: copies.append(copy.deepcopy(p.scheduler))))
    plain = run(pipe)
    pipe.scheduler = copies[0]
    assert (run(pipe) == plain).all()
    with linear_guard(ALWAYS, BLOCK).attach(pipe) as watch:
        run(pipe)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2
    assert "step" not in vars(pipe.scheduler)


def test_a_step_of_a_copy_of_a_guarded_scheduler_ends_the_call() -> None:
    """What another scheduler makes could be what is handed out."""

    def step_a_copy(pipe: Any) -> None:
        copied = copy.deepcopy(pipe.scheduler)
        latents = torch.zeros(2, 4, 8, 8)
        copied.step(latents, copied.timesteps[2], latents)

    pipe, images = tiny_pipeline(), None
    with pytest.raises(GuardError, match="a copy of the guarded scheduler"), linear_guard(NEVER).attach(pipe):
        images = run(pipe, callback_on_step_end=at_step(1, step_a_copy))
    assert images is None


def test_a_copy_of_a_guarded_pipeline_is_refused_inside_and_a_plain_one_afterwards() -> None:
    pipe = tiny_pipeline()
    with linear_guard(NEVER).attach(pipe):
        twin = copy.deepcopy(pipe)
        with pytest.raises(GuardError, match="a copy of a guarded pipeline"):
            run(twin)
    assert (run(twin) == run(pipe)).all()
    with linear_guard(NEVER).attach(twin) as watch:
        run(twin)
    assert len(watch.verdicts) == 2
    assert type(twin) is diffusers.StableDiffusionPipeline


def test_each_removes_only_its_own_hook() -> None:
    """A library that wraps `step` inside the block keeps its wrapper, which is the scheduler's afterwards."""
    pipe, steps = tiny_pipeline(), []
    with linear_guard(NEVER).attach(pipe) as watch:
        guarded = pipe.scheduler.step

        @functools.wraps(guarded.__func__)
        def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
            steps.append(1)
            return guarded(*args, **kwargs)

        pipe.scheduler.step = MethodType(counting, pipe.scheduler)
        run(pipe)
    assert (len(watch.verdicts), len(steps)) == (2, STEPS)
    run(pipe)
    assert len(steps) == 2 * STEPS
    with linear_guard(ALWAYS, BLOCK).attach(pipe) as watch:
        run(pipe)
    assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED] * 2
    assert len(steps) > 2 * STEPS, "and is not thrown away by the next block"


def test_a_compiled_decoder_is_watched_too() -> None:
    pipe = tiny_pipeline()
    plain, decode = run(pipe), pipe.vae.decode
    for wrapped in (
        lambda z, return_dict=True, generator=None: decode(z, return_dict=return_dict),
        lambda *args, **kwargs: decode(*args, **kwargs),
        functools.partial(decode),
    ):
        pipe.vae.decode = wrapped
        with linear_guard(NEVER).attach(pipe) as watch:
            assert (run(pipe) == plain).all()
        assert len(watch.verdicts) == 2
        assert pipe.vae.decode is wrapped, "what stood there stands there again"
    pipe.vae.decode = lambda z, return_dict=True, generator=None: decode(z, return_dict=return_dict)
    with linear_guard(NEVER).attach(pipe) as watch:
        assert (run(pipe) == plain).all()
    assert len(watch.verdicts) == 2
    assert not hasattr(pipe.vae.decode, "__func__"), "what stood there stands there again"


@pytest.mark.parametrize("kind", [diffusers.DDIMScheduler, diffusers.DPMSolverMultistepScheduler])
def test_a_class_of_a_known_schedulers_name_is_no_known_scheduler(kind: Any) -> None:
    pipe = tiny_pipeline()
    homemade = type(kind.__name__, (kind,), {"__module__": "homemade"})
    pipe.scheduler = homemade(**DDIM) if kind is diffusers.DDIMScheduler else homemade()
    with pytest.raises(UnsupportedPipelineError, match=kind.__name__):
        linear_guard(NEVER).attach(pipe)


class Odd(LinearLatentCLIP):
    """A model whose embeddings are not what they should be."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._change = change

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        return self._change(super().encode_latents(latents, noise_level, normalize))


ODD = {
    "one row for all": lambda features: features[:1],
    "a row too many": lambda features: torch.cat([features, features[:1]]),
    "no row": lambda features: features[:0],
    "a column too few": lambda features: features[:, :-1],
    "one number": lambda features: features.sum(),
    "zeros": torch.zeros_like,
    "whole numbers": lambda features: features.long(),
    "half as long": lambda features: features / 2,
    "twice as long": lambda features: features * 2,
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.parametrize("policy", [SAFE, BLOCK, FLAG], ids=["safe", "block", "flag"])
def test_embeddings_of_another_shape_or_length_end_the_generation(change: Any, policy: Any) -> None:
    pipe, images = tiny_pipeline(), None
    with pytest.raises(GuardError), linear_guard(ALWAYS, policy, Odd(change)).attach(pipe):
        images = run(pipe)
    assert images is None


@pytest.mark.parametrize("cut", [lambda s: s[:, :0], lambda s: s[:1], lambda s: s[0], lambda s: s.new_zeros(3, 1)])
def test_scores_of_another_shape_end_the_generation(cut: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Scorer.check
    monkeypatch.setattr(Scorer, "check", lambda self, *args: tuple(cut(part) for part in check(self, *args)))
    pipe, images = tiny_pipeline(), None
    with pytest.raises(GuardError), linear_guard(ALWAYS, BLOCK).attach(pipe):
        images = run(pipe)
    assert images is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("policy", [SAFE, BLOCK, FLAG], ids=["safe", "block", "flag"])
def test_a_threshold_that_is_no_number_ends_the_generation(
    value: float, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "thresholds", lambda self, level: torch.full((1,), value))
    with pytest.raises(GuardError, match="not a finite number"):
        linear_guard(NEVER, policy).generate(tiny_pipeline(), "a pistol", seed=0, num_inference_steps=STEPS)


def test_pndm_is_followed_through_image_to_image_at_every_strength() -> None:
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**tiny_pipeline().components, requires_safety_checker=False)
    pipe.scheduler = diffusers.PNDMScheduler(
        skip_prk_steps=True, **{k: v for k, v in DDIM.items() if k != "clip_sample"}
    )
    pipe.set_progress_bar_config(disable=True)
    for steps in range(1, 7):
        for kept in range(1, steps + 1):
            arguments: dict[str, Any] = {
                "image": pictures()[:1],
                "strength": kept / steps,
                "num_inference_steps": steps,
            }
            plain = pipe("a cat", output_type="np", generator=generators(1), **arguments).images
            with linear_guard(NEVER).attach(pipe) as watch:
                images = pipe("a cat", output_type="np", generator=generators(1), **arguments).images
            assert (images == plain).all()
            assert [v.decision for v in watch.verdicts] == [Decision.ALLOWED]
            assert watch.verdicts[0].cost.model_evaluations == pipe.num_timesteps
            with linear_guard(ALWAYS, BLOCK).attach(pipe) as watch:
                pipe("a cat", generator=generators(1), **arguments)
            assert [v.decision for v in watch.verdicts] == [Decision.BLOCKED]


def test_a_category_that_no_image_can_trigger_is_named_when_attaching() -> None:
    pipe = tiny_pipeline()
    bank = linear_bank(0.0)
    guard = LatentGuard(LinearLatentCLIP(), bank.with_thresholds(bank.noise_levels, torch.tensor([[2000.0]])), BLOCK)
    with pytest.warns(UserWarning, match="violence can never act under the policy block"), guard.attach(pipe):
        run(pipe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with linear_guard(NEVER, BLOCK).attach(pipe):
            run(pipe)
