"""Modular pipelines: what holds of them beside the proofs of conformance, and what is refused."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.modular_pipelines import InputParam, ModularPipelineBlocks, OutputParam
from torch import Tensor

from latent_guard.conformance import check_decode_gate
from latent_guard.conformance.harness import decoded_by, known_guard
from latent_guard.errors import GuardError, InputError, UnsupportedPipelineError
from latent_guard.guidance.policy import BLOCK, FLAG
from latent_guard.guidance.verdict import Decision
from latent_guard.pipelines.vae import first_of_the_decoder
from tests.pipelines.families import flux2
from tests.pipelines.families.modular import FAMILIES
from tests.pipelines.families.modular_redrawn import INPAINTING
from tests.pipelines.families.tiny import Tiny, generators

NEVER, ALWAYS = 1e3, -1e3


def tiny(name: str) -> Any:
    return next(tiny for tiny in FAMILIES if tiny.name == name)


KLEIN = tiny("Flux2KleinModularPipeline")


def call(pipe: Any, **changes: Any) -> Any:
    """All of the state of KLEIN's call, unless asked otherwise."""
    own = {"num_inference_steps": 3, "generator": generators(1, 2, 3), "output_type": "np"}
    return pipe(**{**own, **KLEIN.arguments, **changes})


class Altering(ModularPipelineBlocks):
    """A block of somebody's own that puts other latents in the place of those that were judged."""

    @property
    def inputs(self) -> list[Any]:
        return [InputParam("latents")]

    @property
    def intermediate_outputs(self) -> list[Any]:
        return [OutputParam("latents")]

    def __call__(self, components: Any, state: Any) -> Any:
        state.set("latents", state.get("latents") + 1)
        return components, state


def with_block(kind: Tiny, block: Any | None = None, *, decodes: bool = True, after: bool = False) -> Any:
    """A pipeline with a block between its loop and its decoder, or after this; by default the one above."""
    blocks = kind.pipeline().blocks
    blocks.sub_blocks.insert("own", block or Altering(), list(blocks.sub_blocks).index("decode") + after)
    if not decodes:
        blocks.sub_blocks.pop("decode")
    pipe = blocks.init_pipeline()
    own = kind.pipeline().components
    pipe.update_components(**{name: part for name, part in own.items() if name in pipe.component_names})
    return pipe


def test_components_that_were_not_loaded_are_named() -> None:
    pipe = KLEIN.pipeline().blocks.init_pipeline()
    with pytest.raises(
        UnsupportedPipelineError, match=r"no scheduler and no transformer and no vae: .*load_components"
    ):
        known_guard(KLEIN.pipeline(), NEVER, FLAG).attach(pipe)


def test_a_state_of_blocked_pictures_shows_nothing_of_them() -> None:
    pipe = KLEIN.pipeline()
    plain = call(pipe)
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        state = call(pipe)
    assert type(state).__name__ == "PipelineState"
    made = [plain.get("images"), plain.get("latents")]
    for value in state.values.values():
        if isinstance(value, Tensor | np.ndarray):
            assert not any(value.shape == own.shape and np.allclose(value, own) for own in made)


def test_a_call_returns_what_it_asks_for() -> None:
    pipe = KLEIN.pipeline()
    with known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        both = call(pipe, output=["images", "latents"])
        assert set(both) == {"images", "latents"}
        assert len(call(pipe, output="images")) == 3
        assert call(pipe, state=call(pipe), output="images").shape == both["images"].shape
    assert len(watch.verdicts) == 12


def test_latents_that_a_block_changed_are_judged_again_before_they_are_decoded() -> None:
    pipe = with_block(KLEIN)
    with decoded_by(pipe) as given, known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        call(pipe)
    scores = [verdict.scores["violence"] for verdict in watch.verdicts]
    between = sum(sorted(scores)[-2:]) / 2
    with decoded_by(pipe) as masked, known_guard(pipe, between, BLOCK).attach(pipe) as watch:
        call(pipe)
    worst = int(np.argmax(scores))
    assert [verdict.decision is Decision.BLOCKED for verdict in watch.verdicts] == [n == worst for n in range(3)]
    assert [torch.equal(masked[0][n], given[0][n]) for n in range(3)] == [n != worst for n in range(3)]


@pytest.mark.parametrize("decodes", [True, False])
def test_latents_that_a_block_changed_leave_judged_and_masked(decodes: bool) -> None:
    pipe = with_block(KLEIN, decodes=decodes)
    plain = call(pipe, output="latents")
    with known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        assert torch.equal(call(pipe, output="latents"), plain)
    scores = [verdict.scores["violence"] for verdict in watch.verdicts]
    between, worst = sum(sorted(scores)[-2:]) / 2, int(np.argmax(scores))
    with known_guard(pipe, between, BLOCK).attach(pipe) as watch:
        state = call(pipe)
    latents = state.get("latents")
    assert [torch.equal(latents[n], plain[n]) for n in range(3)] == [n != worst for n in range(3)]
    assert float(latents[worst].std(dim=(1, 2)).max()) < 1e-5
    assert [verdict.decision is Decision.BLOCKED for verdict in watch.verdicts] == [n == worst for n in range(3)]


class Keeping(Altering):
    """A block that keeps latents where nobody looks for them."""

    @property
    def intermediate_outputs(self) -> list[Any]:
        return [OutputParam("kept")]

    def __call__(self, components: Any, state: Any) -> Any:
        state.set("kept", [state.get("latents") + 1])
        return components, state


def test_what_blocks_made_of_blocked_latents_is_left_out_of_the_state() -> None:
    pipe = with_block(KLEIN, Keeping())
    with known_guard(pipe, NEVER, FLAG).attach(pipe):
        assert call(pipe).get("kept") is not None
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        state = call(pipe)
    assert state.get("kept") is None
    assert state.get("prompt_embeds") is not None
    assert state.get("images") is not None


def test_pixels_that_are_latents_are_not_handed_out_by_the_gate_at_the_decoder() -> None:
    class Renaming(Altering):
        @property
        def intermediate_outputs(self) -> list[Any]:
            return [OutputParam("images")]

        def __call__(self, components: Any, state: Any) -> Any:
            state.set("images", state.get("latents"))
            return components, state

    pipe = with_block(KLEIN, Renaming(), after=True)
    with (
        pytest.raises(GuardError, match="latents beside"),
        known_guard(pipe, ALWAYS, BLOCK).attach(pipe, gate="decode"),
    ):
        call(pipe, output="images")
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        images = call(pipe, output="images")
    assert float(images.std(dim=(2, 3)).max()) < 1e-5


def test_an_aborted_call_does_not_rest_the_denoiser_of_other_threads() -> None:
    pipe, other = KLEIN.pipeline(), KLEIN.pipeline()
    other.update_components(transformer=pipe.transformer)
    plain, made = call(other, output="images"), []
    hook = first_of_the_decoder(pipe.vae).register_forward_pre_hook(
        lambda *_: run_in_thread(lambda: made.append(call(other, output="images")))
    )
    with known_guard(pipe, ALWAYS, BLOCK).attach(pipe) as watch:
        call(pipe, num_inference_steps=20)
    hook.remove()
    assert watch.verdicts[0].actions[0].kind.value == "abort"
    assert np.array_equal(made[0], plain)


def run_in_thread(target: Any) -> None:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()


def test_a_second_decode_makes_no_verdict_better() -> None:
    """A thumbnail of one picture is decoded after all of them."""
    pipe, raised = KLEIN.pipeline(), []
    with known_guard(pipe, ALWAYS, FLAG).attach(pipe) as watch:
        state = call(pipe)
        raised.append(pipe.vae.decode(-100 * torch.ones(3, flux2.CHANNELS, 8, 16)))
    assert state.get("images") is not None
    assert {verdict.decision for verdict in watch.verdicts} == {Decision.FLAGGED}


def test_two_pipelines_that_share_a_scheduler_cannot_both_be_guarded() -> None:
    first, second = KLEIN.pipeline(), KLEIN.pipeline()
    second.update_components(scheduler=first.scheduler)
    with known_guard(first, NEVER, FLAG).attach(first) as watch:
        with pytest.raises(InputError, match="guarded"), known_guard(second, NEVER, FLAG).attach(second):
            pass
        assert len(call(first, output="images")) == len(watch.verdicts)


def test_a_run_that_is_hopeless_costs_no_more_evaluations() -> None:
    pipe, evaluations = KLEIN.pipeline(), []
    pipe.transformer.x_embedder.register_forward_pre_hook(lambda *_: evaluations.append(1))
    with decoded_by(pipe) as given, known_guard(pipe, ALWAYS, BLOCK).attach(pipe) as watch:
        call(pipe, num_inference_steps=20)
    assert [[action.kind.value for action in verdict.actions] for verdict in watch.verdicts] == [["abort"]] * 3
    aborted_at = watch.verdicts[0].actions[0].step
    assert len(given) == 1
    assert len(evaluations) == aborted_at + 2
    assert "forward" not in vars(pipe.transformer)
    plain = call(pipe, num_inference_steps=2, output="images")
    assert np.array_equal(plain, call(KLEIN.pipeline(), num_inference_steps=2, output="images"))


def test_the_guard_itself_does_not_call_it() -> None:
    pipe = KLEIN.pipeline()
    with pytest.raises(UnsupportedPipelineError, match=r"guard\.attach"):
        known_guard(pipe, NEVER, FLAG).generate(pipe, "a cat")


def test_at_the_decoder_alone_only_pictures_are_handed_out() -> None:
    pipe = KLEIN.pipeline()
    guard = known_guard(pipe, NEVER, FLAG)
    for output in (None, "latents", ["images", "latents"]):
        with pytest.raises(InputError, match="ask for the pictures"), guard.attach(pipe, gate="decode"):
            call(pipe, output=output)
    with guard.attach(pipe, gate="decode") as watch:
        assert len(call(pipe, output="images")) == len(watch.verdicts) == 3


@pytest.mark.parametrize("kind", INPAINTING, ids=lambda kind: kind.name)
def test_what_an_original_is_put_back_into_is_judged_as_it_is_decoded(kind: Tiny) -> None:
    pipe = kind.pipeline()
    plain = kind.call(pipe)
    with known_guard(pipe, NEVER, FLAG).attach(pipe) as watch:
        guarded = kind.call(pipe)
    assert len(watch.verdicts) == len(plain)
    assert np.array_equal(np.asarray(plain), np.asarray(guarded))
    with decoded_by(pipe) as given, known_guard(pipe, ALWAYS, BLOCK).attach(pipe):
        kind.call(pipe)
    assert float(given[0].std(dim=(2, 3)).max()) < 1e-3
    assert all(proof.holds for proof in check_decode_gate(kind.pipeline(), kind.call))
