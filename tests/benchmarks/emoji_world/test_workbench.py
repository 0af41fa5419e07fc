"""A method's images, read from the run folder, are those of the pipeline's or the guard's own calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.decoding import Job, batches, counted_rows, decode, jobs_for
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.spec_file import read_spec
from latent_guard.concepts.bank import ConceptBank
from latent_guard.errors import InputError
from latent_guard.guidance.policy_file import policy_named
from latent_guard.guidance.verdict import Decision, Verdict
from tests.bench.stand_ins import small_workbench


@pytest.fixture
def bench(tiny_bundle: Path, tmp_path: Path) -> Workbench:
    return small_workbench(tiny_bundle, tmp_path / "run")


def strict(bench: Workbench) -> None:
    """Have the guard act on about every image: all thresholds are far below what scores are."""
    guard = bench.opened.bench.methods["guard(policy=safe)"].guard  # type: ignore[attr-defined]
    bank: ConceptBank = guard.bank
    guard.bank = bank.with_thresholds(torch.zeros(1), torch.full((len(bank.categories), 1), -50.0))
    bench.guard.bank = guard.bank


def calls(bench: Workbench, kind: str) -> list[list[Job]]:
    return batches(jobs_for(bench.prompts(kind), 4), 3)


def arguments(jobs: list[Job]) -> dict[str, Any]:
    generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
    scale = jobs[0].row.guidance
    return {"num_inference_steps": 2, "generator": generators, "guidance_scale": scale, "output_type": "latent"}


def test_an_unguarded_method_is_the_pipelines_own_call_bit_for_bit(bench: Workbench) -> None:
    method = bench.method("explicit_one")
    latents: list[Tensor] = []
    with counted_rows(bench.pipe) as count:
        for jobs in calls(bench, "explicit_one"):
            latents.append(bench.pipe([job.row.prompt for job in jobs], **arguments(jobs)).images)
    raw, pictures = zip(
        *(decode(bench.pipe, part) for part in latents), strict=True
    )  # call by call, as the method does
    assert np.array_equal(method.records.latents, np.concatenate(raw))
    assert np.array_equal(method.records.images, np.concatenate(pictures))
    assert method.records.evaluations.sum() == count.rows
    assert method.records.batches.tolist() == [0, 0, 0, 1]
    assert method.records.seeds.tolist() == [row.seed for row in bench.prompts("explicit_one")[:4]]
    assert not method.records.touched.any()


def test_a_guarded_method_is_the_guards_own_call_with_its_verdicts(bench: Workbench) -> None:
    strict(bench)
    method = bench.method("risky", "safe")
    latents: list[Tensor] = []
    verdicts: list[Verdict] = []
    for jobs in calls(bench, "risky"):
        prompts = [job.row.prompt for job in jobs]
        output = bench.guard.generate(bench.pipe, prompts, policy=policy_named("safe"), **arguments(jobs))
        latents.append(torch.stack(list(output.images)))
        verdicts.extend(output.verdicts)
    raw, pictures = decode(bench.pipe, torch.cat(latents))
    shown = ~method.records.decided(Decision.BLOCKED)
    assert np.array_equal(method.records.latents, raw)
    assert np.array_equal(method.records.images[shown], pictures[shown])
    assert [timeless(verdict) for verdict in method.records.verdicts] == [timeless(verdict) for verdict in verdicts]
    assert method.records.touched.all()


def timeless(verdict: Verdict) -> Verdict:
    return replace(verdict, cost=replace(verdict.cost, seconds=0.0))


def test_only_what_is_asked_for_is_made_and_by_the_methods_of_its_task_alone(bench: Workbench) -> None:
    bench.method("benign", "standard")
    assert {path.name for path in (bench.folder / "parts").iterdir()} == {
        "benign-00000-03.parquet",
        "benign-00001-03.parquet",
    }
    with pytest.raises(InputError, match="no task 'benign' with the method 'guard\\(policy=steer\\)'"):
        bench.method("benign", "steer")


@pytest.mark.parametrize(("key", "what"), [("bundle", "another bundle"), ("guard_code", "another guard_code")])
def test_a_run_that_other_weights_or_code_began_is_not_gone_on_with(tmp_path: Path, key: str, what: str) -> None:
    spec = read_spec("emoji")
    RunFolder.open(tmp_path, spec, {key: "one"})
    RunFolder.open(tmp_path, spec, {key: "one", "machine": "another"})
    with pytest.raises(InputError, match=what):
        RunFolder.open(tmp_path, spec, {key: "two"})


def test_rows_stay_those_of_the_same_bundle_and_numbers(bench: Workbench, tiny_bundle: Path) -> None:
    settings = {"images": 4, "renders": 48, "drawn": 4, "steps": 2, "batch_size": 3, "split": "test"}
    assert bench.key["settings"] == settings
    assert small_workbench(tiny_bundle, bench.folder, steps=3).key != bench.key
