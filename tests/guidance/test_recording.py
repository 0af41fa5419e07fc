"""What a calibration set records: each check as it happens, and a sentence by which the shipped bank knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_guard import shipped
from latent_guard.cli.calibration_images import (
    CALIBRATION,
    TEST,
    Schedule,
    generate_calibration_set,
    labelled_prompts_of_shipped_world,
)
from latent_guard.errors import GuardError
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.recording import record
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_guard, tiny_pipeline

STEPS = 4


class Long(LinearLatentCLIP):
    """Its embeddings are twice as long as they should be."""

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        return 2 * super().encode_latents(latents, noise_level, normalize)


def recorded(model: LinearLatentCLIP, **arguments: Any) -> Any:
    pipe, guard = tiny_pipeline(), linear_guard(0, model=model)
    return record(guard, pipe, ["a cat"], [0], SAFE, num_inference_steps=STEPS, output_type="latent", **arguments)


@pytest.mark.parametrize("model", [Long(), BrokenLatentCLIP()])
def test_an_embedding_that_is_not_of_length_one_is_never_recorded(model: LinearLatentCLIP) -> None:
    with pytest.raises(GuardError, match="not of length one"):
        recorded(model)


def test_estimates_are_embedded_as_they_come_and_not_kept_for_the_end_of_the_call() -> None:
    model, counts = LinearLatentCLIP(), list[int]()

    def count(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        counts.append(len(model.levels_told))
        return tensors

    seen = recorded(model, callback_on_step_end=count)
    assert 0 < counts[-2] < counts[-1] == len(model.levels_told) == len(seen.noise_levels)
    assert not seen.features.requires_grad
    assert torch.equal(seen.noise_levels, torch.tensor(model.levels_told))


@pytest.mark.parametrize(("stream", "refused"), [(CALIBRATION, True), (TEST, False)])
def test_the_shipped_bank_knows_a_new_recording_of_its_own_calibration_prompts(stream: str, refused: bool) -> None:
    """Its file has no other identity of them than a sentence, which recording has to repeat word for word."""
    guard, labelled = shipped.guard(), labelled_prompts_of_shipped_world(stream, 8)
    calibration = guard.bank.calibration
    assert calibration is not None
    assert calibration.identity == ""
    schedule = Schedule(int(shipped.ARGUMENTS["num_inference_steps"]), Policies.of(SAFE))
    seen = generate_calibration_set(None, guard, replace(labelled, jobs=labelled.jobs[:2]), schedule)
    assert seen.identity
    assert seen.calibrated(calibration) == refused
