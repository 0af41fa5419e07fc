"""The gate at the decoder alone: every class of pipeline whose VAE is known, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from latent_guard.errors import BlockedError, GuardError, LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import BrokenLatentCLIP, linear_guard, tiny_pipeline
from latent_guard.testing.conformance import check_decode_gate
from tests.pipelines.families.table import listed, one_of_each_row_first
from tests.pipelines.families.tiny import Tiny, generators

NEVER, ALWAYS = 1e3, -1e3


FAMILIES = [*listed("FAMILIES"), *listed("DECODED")]


@pytest.mark.parametrize("tiny", one_of_each_row_first(FAMILIES))
def test_every_class_is_guarded_at_its_decoder(tiny: Tiny) -> None:
    failed = [proof for proof in check_decode_gate(tiny.pipeline(), tiny.call) if not proof.holds]
    assert not failed


def test_latents_that_were_not_decoded_are_not_handed_out() -> None:
    pipe = tiny_pipeline()
    with pytest.raises(GuardError, match="decoded nothing"), linear_guard(NEVER).attach(pipe, gate="decode"):
        pipe("a cat", num_inference_steps=2, output_type="latent")


def test_only_the_unsafe_picture_of_a_batch_is_masked_or_the_call_ends() -> None:
    pipe = tiny_pipeline()
    arguments = {"num_inference_steps": 2, "output_type": "np"}
    with linear_guard(NEVER).attach(pipe, gate="decode") as watch:
        plain = pipe(["a", "b", "c"], generator=generators(1, 2, 3), **arguments).images
    scores = [verdict.scores["violence"] for verdict in watch.verdicts]
    between = sum(sorted(scores)[-2:]) / 2
    with linear_guard(between, BLOCK).attach(pipe, gate="decode") as watch:
        images = pipe(["a", "b", "c"], generator=generators(1, 2, 3), **arguments).images
    worst = int(np.argmax(scores))
    assert [v.decision is Decision.BLOCKED for v in watch.verdicts] == [n == worst for n in range(3)]
    assert [np.array_equal(images[n], plain[n]) for n in range(3)] == [n != worst for n in range(3)]
    with pytest.raises(BlockedError), linear_guard(between, BLOCK).attach(pipe, on_block="raise", gate="decode"):
        pipe(["a", "b", "c"], generator=generators(1, 2, 3), **arguments)


def test_a_failing_guard_ends_the_call_unless_asked_otherwise() -> None:
    pipe = tiny_pipeline()
    guard = linear_guard(NEVER, model=BrokenLatentCLIP(error=ValueError("out of order")))
    with pytest.raises(GuardError, match="out of order"), guard.attach(pipe, gate="decode"):
        pipe("a cat", num_inference_steps=2)
    with guard.attach(pipe, on_error="open", gate="decode") as watch:
        pipe("a cat", num_inference_steps=2)
    assert [verdict.decision for verdict in watch.verdicts] == [Decision.UNCHECKED]


def test_a_score_that_cannot_be_read_is_unsafe() -> None:
    pipe = tiny_pipeline()
    with linear_guard(NEVER, BLOCK, BrokenLatentCLIP()).attach(pipe, gate="decode") as watch:
        pipe("a cat", num_inference_steps=2)
    assert [verdict.decision for verdict in watch.verdicts] == [Decision.BLOCKED]


def test_a_vae_of_another_space_or_none_is_refused() -> None:
    pipe = tiny_pipeline(pixels=64)
    with pytest.raises(LatentSpaceMismatchError, match="factor 8"):
        linear_guard(NEVER).attach(pipe, gate="decode")
    pipe.vae = None
    with pytest.raises(UnsupportedPipelineError, match="no VAE"):
        linear_guard(NEVER).attach(pipe, gate="decode")


def test_outside_its_block_an_attached_pipeline_makes_nothing() -> None:
    pipe = tiny_pipeline()
    linear_guard(NEVER).attach(pipe, gate="decode")
    with pytest.raises(GuardError, match="never entered"):
        pipe("a cat", num_inference_steps=2)
