"""Arms: which seeds and arguments a pipeline gets, what is recorded, and that batching changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latent_guard.bench.baselines.generated import Baseline
from latent_guard.bench.baselines.guarded import Guarded
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.bench.generate import jobs_for
from latent_guard.bench.harness import Bench, run_units
from latent_guard.bench.judges.function import FunctionJudge
from latent_guard.bench.plan import plan_of
from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.records import Records, records_of
from latent_guard.bench.run_folder import RunFolder
from latent_guard.bench.spec import ArmSpec, Spec, TaskSpec
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.verdict import Decision
from tests.bench.stand_ins import NoisePipeline, ObedientGuard

ROWS = [PromptRow(f"prompt {n}", seed=100 * n, guidance=4.0) for n in range(5)]


def made(
    folder: Path,
    images: int,
    *,
    rows: list[PromptRow] = ROWS,
    method: Baseline | None = None,
    steps: int = 1,
    batch_size: int = 16,
    pipe: NoisePipeline | None = None,
) -> Records:
    """A run of one method in a folder, read back."""
    arm, judge = ArmSpec("any"), FunctionJudge(lambda pictures: np.zeros(len(pictures), dtype=bool), "nothing")
    task = TaskSpec("task", "list.csv", images)
    spec = Spec("run", (task,), (arm,), ArmSpec("none"), steps=steps, batch_size=batch_size, keep_latents=True)
    units, run = plan_of(spec, {"task": rows}).units, RunFolder.open(folder, spec, {})
    run_units(Bench(spec, pipe or NoisePipeline(), {"any": method or Unguarded()}, judge), run, units)
    return records_of(run, units)


def guarded(prompt: str, decision: Decision) -> Guarded:
    guard = ObedientGuard(lambda text: decision if text == prompt else Decision.ALLOWED)
    return Guarded(guard, Policies.of(SAFE))  # type: ignore[arg-type]


def test_images_are_spread_over_prompts_and_seeds_count_up() -> None:
    jobs = jobs_for(ROWS, 7)
    assert [(job.index, job.seed) for job in jobs] == [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400), (0, 1), (1, 101)]


def test_an_image_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    alone = made(tmp_path / "alone", 7, batch_size=1)
    together = made(tmp_path / "together", 7, batch_size=4)
    assert np.array_equal(alone.images, together.images)
    assert np.array_equal(alone.latents, together.latents)
    assert together.batches.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_latents_are_recorded_raw_and_pictures_as_diffusers_rounds_them(tmp_path: Path) -> None:
    records = made(tmp_path, 5)
    expected = np.round(np.clip(records.latents / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(records.images, expected)
    assert records.latents.std() == pytest.approx(2, abs=0.3)  # unit noise over the scaling factor of 0.5


def test_each_batch_has_one_guidance_scale_and_none_where_the_list_gives_none(tmp_path: Path) -> None:
    pipe = NoisePipeline()
    rows = [PromptRow("a", 1, guidance=4.0), PromptRow("b", 2, guidance=7.0), PromptRow("c", 3)]
    made(tmp_path, 3, rows=rows, pipe=pipe)
    assert [call.get("guidance_scale") for call in pipe.calls] == [4.0, 7.0, None]
    assert all(call["output_type"] == "latent" for call in pipe.calls)


def test_the_denoisers_rows_are_counted_whoever_asked_for_them(tmp_path: Path) -> None:
    plain = made(tmp_path / "plain", 5, steps=3)
    steered = made(tmp_path / "steered", 5, steps=3, method=guarded("prompt 0", Decision.STEERED))
    assert plain.evaluations.tolist() == [6.0] * 5
    assert steered.evaluations.sum() == 31
    assert steered.touched.tolist() == [True, False, False, False, False]


def test_verdicts_are_kept_and_a_blocked_image_is_gray(tmp_path: Path) -> None:
    records = made(tmp_path, 5, method=guarded("prompt 1", Decision.BLOCKED))
    assert records.decided(Decision.BLOCKED).tolist() == [False, True, False, False, False]
    assert len(records.verdicts) == 5
    assert len(np.unique(records.images[1])) == 1
    assert len(np.unique(records.images[0])) > 1
