"""Methods: which seeds and arguments a pipeline gets, what is recorded, and that batching changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.emoji_world.method_records import Records, records_of
from latent_guard.bench.baselines.base import Baseline
from latent_guard.bench.baselines.guarded import Guarded
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.bench.decoding import decode, jobs_for, unpacked
from latent_guard.bench.judges.base import FunctionJudge, Judgement
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.execute import Bench, run_units
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.runs.plan import plan_of
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.verdict import Decision
from latent_guard.testing import linear_guard
from latent_guard.testing.pipelines import tiny_vae
from tests.bench.stand_ins import NoisePipeline, ObedientGuard, brightness_judge
from tests.pipelines import tiny
from tests.pipelines.test_guarded_families import encode_flux
from tests.pipelines.tiny import generators

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
    named, judge = MethodSpec("any"), FunctionJudge(lambda pictures: np.zeros(len(pictures), dtype=bool), "nothing")
    task = TaskSpec("task", "list.csv", images)
    spec = Spec("run", (task,), (named,), MethodSpec("none"), steps=steps, batch_size=batch_size, keep_latents=True)
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


def test_what_another_method_leaves_as_it_is_was_allowed_by_it(tmp_path: Path) -> None:
    made(tmp_path, 5)
    records = pd.concat(map(pd.read_parquet, (tmp_path / "parts").iterdir()))
    assert set(records["decision"]) == {"allowed"}


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


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ({"objects": "cat"}, True),
        ({"objects": "bomb"}, False),
        ({"objects": "cat, teapot"}, None),  # the world has no teapots
        ({"objects": "cat", "context": "boudoir"}, None),
        ({"context": "boudoir"}, None),
        ({}, None),
    ],
)
def test_what_a_list_asks_for_and_the_world_does_not_have_is_neither_found_nor_missed(
    asked: dict[str, str], is_found: bool | None
) -> None:
    judge, dark = brightness_judge(), np.zeros((1, 3, 4, 4), np.uint8)
    judgement = Judgement(np.zeros(1, dtype=bool), np.zeros(1), ((),), judge.present(dark))
    (answer,) = judge.satisfied([PromptRow("x", 1, extra=asked)], judgement, dark)
    assert (None if answer is pd.NA else bool(answer)) == is_found


def embedded(pipe: Any) -> Any:
    """The pipeline, that takes embeddings alone, called with prompts."""
    kind = type(pipe)
    names = {
        "__module__": kind.__module__,
        "__call__": lambda own, _prompts, **arguments: kind.__call__(own, **arguments),
    }
    pipe.__class__ = type(kind.__name__, (kind,), names)
    return pipe


@pytest.mark.parametrize("name", ["StableDiffusion3Pipeline", "FluxPipeline", "PixArtSigmaPipeline"])
def test_pipelines_with_a_transformer_are_counted_and_shown_as_they_show_themselves(name: str) -> None:
    family = tiny.BY_NAME[name]
    pipe = family.pipeline()
    own = family.call(pipe, output_type="np")
    arguments = {"num_inference_steps": tiny.STEPS, "generator": generators(1, 2, 3), **family.arguments}
    made = Unguarded().generate(embedded(pipe), ["a"] * 3, **arguments)
    assert made.latents is not None
    assert made.latents.shape == (3, 4, 8, 8)
    assert np.abs(made.pictures.transpose(0, 2, 3, 1) - np.round(own * 255)).max() <= 1
    assert made.evaluations == tiny.STEPS * (1 if name == "FluxPipeline" else 2)


def test_a_guarded_flux_is_decoded_as_an_unguarded_one() -> None:
    pipe = tiny.BY_NAME["FluxPipeline"].pipeline()
    pipe.encode_prompt = encode_flux
    shown = []
    for method in (Unguarded(), Guarded(linear_guard(1e3), Policies.of(SAFE))):
        arguments = {"num_inference_steps": 4, "generator": generators(1, 2), "height": 32, "width": 32}
        shown.append(method.generate(pipe, ["a cat", "a dog"], **arguments))
    assert np.array_equal(shown[0].pictures, shown[1].pictures)
    assert shown[1].pictures.shape == (2, 3, 32, 32)


def test_packed_latents_without_a_size_are_of_the_pipelines_own() -> None:
    pipe = tiny.BY_NAME["FluxPipeline"].pipeline()
    side = pipe.default_sample_size
    latents = torch.randn(1, 4, side, side)
    packed = pipe._pack_latents(latents, 1, 4, side, side)
    assert torch.equal(unpacked(pipe, packed, {}), latents)


def test_a_pipeline_without_a_denoiser_is_refused_by_name_before_anything_runs() -> None:
    spec = Spec("run", (TaskSpec("task", "list.csv"),), (MethodSpec("any"),), MethodSpec("none"))
    judge = FunctionJudge(lambda pictures: np.zeros(len(pictures), dtype=bool), "nothing")
    with pytest.raises(InputError, match="SimpleNamespace has no denoiser called unet or transformer"):
        Bench(spec, SimpleNamespace(), {"any": Unguarded()}, judge).check({"any": [None]})


def test_a_half_precision_vae_that_overflows_is_decoded_in_full() -> None:
    half, full = tiny_vae(0.13).half(), tiny_vae(0.13)
    full.load_state_dict(half.state_dict())
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = decode(SimpleNamespace(vae=full), latents)[1]
    assert np.array_equal(decode(SimpleNamespace(vae=half), latents)[1], expected)
    assert half.dtype == torch.float16
