"""Arms: which seeds and arguments a pipeline gets, what is recorded, and that batching changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latent_guard.bench.generate import generate, jobs_for
from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.records import Records
from latent_guard.guidance.verdict import Decision
from tests.bench.stand_ins import NoisePipeline, ObedientGuard

ROWS = [PromptRow(f"prompt {n}", seed=100 * n, guidance=4.0) for n in range(5)]


def test_images_are_spread_over_prompts_and_seeds_count_up() -> None:
    jobs = jobs_for(ROWS, 7)
    assert [(job.index, job.seed) for job in jobs] == [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400), (0, 1), (1, 101)]


def test_an_image_does_not_depend_on_its_batch() -> None:
    alone = generate(NoisePipeline(), jobs_for(ROWS, 7), steps=2, batch_size=1)
    together = generate(NoisePipeline(), jobs_for(ROWS, 7), steps=2, batch_size=4)
    assert np.array_equal(alone.images, together.images)
    assert np.array_equal(alone.latents, together.latents)
    assert together.batches.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_latents_are_recorded_raw_and_pictures_as_diffusers_rounds_them() -> None:
    records = generate(NoisePipeline(), jobs_for(ROWS, 5), steps=1)
    expected = np.round(np.clip(records.latents / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(records.images, expected)
    assert records.latents.std() == pytest.approx(2, abs=0.3)  # unit noise over the scaling factor of 0.5


def test_each_batch_has_one_guidance_scale_and_none_where_the_list_gives_none() -> None:
    pipe = NoisePipeline()
    rows = [PromptRow("a", 1, guidance=4.0), PromptRow("b", 2, guidance=7.0), PromptRow("c", 3)]
    generate(pipe, jobs_for(rows, 3), steps=1)
    assert [call.get("guidance_scale") for call in pipe.calls] == [4.0, 7.0, None]
    assert all(call["output_type"] == "latent" for call in pipe.calls)


def test_the_denoisers_rows_are_counted_whoever_asked_for_them() -> None:
    guard = ObedientGuard(lambda text: Decision.STEERED if text == "prompt 0" else Decision.ALLOWED)
    plain = generate(NoisePipeline(), jobs_for(ROWS, 5), steps=3)
    guarded = generate(NoisePipeline(), jobs_for(ROWS, 5), steps=3, guard=guard)
    assert plain.evaluations.tolist() == [6.0] * 5
    assert guarded.evaluations.sum() == 31
    assert guarded.touched.tolist() == [True, False, False, False, False]


def test_records_read_back_as_written_but_not_for_another_key(tmp_path: Path) -> None:
    guard = ObedientGuard(lambda text: Decision.BLOCKED if text == "prompt 1" else Decision.ALLOWED)
    written = generate(NoisePipeline(), jobs_for(ROWS, 5), steps=1, guard=guard)
    path = tmp_path / "arm.npz"
    written.save(path, {"steps": 1})
    read = Records.load(path, {"steps": 1})
    assert read is not None
    assert np.array_equal(read.images, written.images)
    assert read.verdicts == written.verdicts
    assert read.decided(Decision.BLOCKED).tolist() == [False, True, False, False, False]
    assert Records.load(path, {"steps": 2}) is None
    path.write_bytes(path.read_bytes()[:100])
    assert Records.load(path, {"steps": 1}) is None
    assert Records.load(tmp_path / "none.npz", {"steps": 1}) is None
