"""The gate at the decoder alone: every class of pipeline whose VAE is known, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from latent_guard.conformance import check_decode_gate
from latent_guard.errors import (
    BlockedError,
    GuardError,
    InputError,
    LatentGuardError,
    LatentSpaceMismatchError,
    UnsupportedPipelineError,
)
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import BLOCK
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import BrokenLatentCLIP, linear_guard, tiny_pipeline
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


def test_a_log_that_cannot_be_written_ends_the_call_whatever_is_asked_for(tmp_path: Path) -> None:
    """The guard had not failed: nothing that it found unsafe may pass as unchecked."""
    pipe, images = tiny_pipeline(), None
    guard = linear_guard(ALWAYS, BLOCK, audit=AuditLog(tmp_path / "absent" / "log.jsonl"))
    with pytest.raises(LatentGuardError), guard.attach(pipe, on_error="open", gate="decode"):
        images = pipe("a cat", num_inference_steps=2).images
    assert images is None


def test_what_went_on_unchecked_stands_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    broken = BrokenLatentCLIP(error=ValueError("out of order"))
    with linear_guard(NEVER, model=broken, audit=AuditLog(path)).attach(
        tiny_pipeline(), on_error="open", gate="decode"
    ) as watch:
        watch.decodes.pipe("a cat", num_inference_steps=2)
    assert '"unchecked"' in path.read_text()


def test_an_attachment_is_entered_once_and_stays_what_it_is_where_somebody_tries_again() -> None:
    pipe = tiny_pipeline()
    attachment = linear_guard(NEVER).attach(pipe, gate="decode")
    with attachment:
        with pytest.raises(InputError, match="entered before"):
            attachment.__enter__()
        with pytest.raises(GuardError, match="decoded nothing"):
            pipe("a cat", num_inference_steps=2, output_type="latent")


def test_a_compiled_decoder_is_judged_alike() -> None:
    pipe = tiny_pipeline()
    pipe.vae.decode = torch.compile(pipe.vae.decode, backend="eager")
    with linear_guard(ALWAYS, BLOCK).attach(pipe, gate="decode") as watch:
        pipe("a cat", num_inference_steps=2)
    assert [verdict.decision for verdict in watch.verdicts] == [Decision.BLOCKED]


def test_a_decoder_that_is_called_by_its_layers_ends_the_call() -> None:
    pipe, shown = tiny_pipeline(), []

    def preview(pipe: Any, _step: int, _t: Any, values: dict[str, Any]) -> dict[str, Any]:
        shown.append(pipe.vae.decoder(pipe.vae.post_quant_conv(values["latents"])))
        return values

    with pytest.raises(GuardError, match=r"without `vae\.decode`"), linear_guard(NEVER).attach(pipe, gate="decode"):
        pipe("a cat", num_inference_steps=2, callback_on_step_end=preview)
    assert not shown
    pipe("a cat", num_inference_steps=2, callback_on_step_end=preview)
    assert len(shown) == 2


@pytest.mark.parametrize("as_tuple", [True, False])
def test_latents_beside_the_pictures_are_not_handed_out(as_tuple: bool) -> None:
    """Sana-WM returns both."""
    pipe = tiny_pipeline()
    kind = type(pipe)

    def call(own: Any, *args: Any, **arguments: Any) -> Any:
        images = kind.__call__(own, *args, **arguments).images
        latents = torch.zeros(1, 4, 8, 8)
        return (images, latents) if as_tuple else SimpleNamespace(images=images, latent=latents)

    pipe.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
    output = None
    with pytest.raises(GuardError, match="latents beside"), linear_guard(ALWAYS, BLOCK).attach(pipe, gate="decode"):
        output = pipe("a cat", num_inference_steps=2)
    assert output is None


def test_an_output_type_that_no_signature_names_is_seen() -> None:
    pipe = tiny_pipeline()
    kind = type(pipe)

    def call(own: Any, prompt: str, **arguments: Any) -> Any:
        own.vae.decode(torch.zeros(1, 4, 8, 8))
        return kind.__call__(own, prompt, **arguments)

    pipe.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
    with pytest.raises(GuardError, match="decoded nothing"), linear_guard(NEVER).attach(pipe, gate="decode"):
        pipe("a cat", num_inference_steps=2, output_type="latent")


def test_nothing_to_decode_is_an_error_by_name() -> None:
    pipe = tiny_pipeline()
    with linear_guard(NEVER).attach(pipe, gate="decode"), pytest.raises(GuardError, match=r"\(0, 4, 8, 8\)"):
        pipe.vae.decode(torch.zeros(0, 4, 8, 8))
