"""A run knows the pipeline and the guard that it was begun with, and is not gone on with by others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_guard import bench
from latent_guard.bench.runs.pipeline_identity import pipeline_identity
from latent_guard.bench.runs.run import bundle_of, make, open_spec
from latent_guard.errors import InputError
from latent_guard.testing import linear_guard, tiny_pipeline

NONE_UNSAFE = bench.FunctionJudge(lambda images: np.zeros(len(images), dtype=bool), "nothing")


def spec_of(folder: Path, *methods: bench.MethodSpec) -> bench.Spec:
    """One step for four images, by a model of the hub that nothing lies beside."""
    (folder / "prompts.csv").write_text(
        "prompt,evaluation_seed\n" + "".join(f"a cat {number},{number}\n" for number in range(4))
    )
    tasks = (bench.TaskSpec("risky", str(folder / "prompts.csv"), images=4),)
    judge = bench.MethodSpec("emoji-judge")
    return bench.Spec("mine", tasks, methods, judge, model="owner/name", steps=1, batch_size=2)


def changed(part: str) -> Any:
    """The tiny pipeline after a training of one of its models."""
    pipe = tiny_pipeline()
    with torch.no_grad():
        next(iter(getattr(pipe, part).parameters())).mul_(1.01)
    return pipe


def in_half_precision() -> Any:
    pipe = tiny_pipeline()
    pipe.unet.half()
    return pipe


OTHERS: dict[str, Callable[[], Any]] = {
    "denoiser": lambda: changed("unet"),
    "VAE": lambda: changed("vae"),
    "text encoder": lambda: changed("text_encoder"),
    "precision": in_half_precision,
    "class": lambda: tiny_pipeline("StableDiffusionXLPipeline"),
}


def test_a_half_run_is_gone_on_with_by_the_same_pipeline_alone(tmp_path: Path) -> None:
    spec, out = spec_of(tmp_path, bench.MethodSpec("unguarded")), tmp_path / "run"
    make(open_spec(spec, tiny_pipeline(), bundle_of(spec), out / "cache", NONE_UNSAFE), out, (0, 2))
    begun = json.loads((out / "environment.json").read_text())
    assert begun["pipeline"].startswith("StableDiffusionPipeline, weights ")
    for part in ("unet", "vae"):
        with pytest.raises(InputError, match=r"was begun with another pipeline .see .*environment.json.; choose"):
            bench.evaluate(spec, changed(part), out, NONE_UNSAFE)
    assert json.loads((out / "environment.json").read_text()) == begun
    assert bench.evaluate(spec, tiny_pipeline(), out, NONE_UNSAFE)["methods"]["unguarded"]


@pytest.mark.parametrize("other", OTHERS)
def test_pipelines_that_draw_differently_have_other_identities(other: str) -> None:
    assert pipeline_identity(OTHERS[other]()) != pipeline_identity(tiny_pipeline())


def test_a_pipeline_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    for name in ("one", "other"):
        pipe.save_pretrained(tmp_path / name)
    loaded = [type(pipe).from_pretrained(tmp_path / name) for name in ("one", "other")]
    assert pipeline_identity(loaded[0]) == pipeline_identity(loaded[1])
    assert "loaded_from" not in pipeline_identity(loaded[0])
    pipe.register_to_config(_name_or_path="owner/name")
    assert pipeline_identity(pipe)["loaded_from"] == "owner/name"


def test_a_large_tensor_is_told_by_a_sample_that_no_row_length_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latent_guard.bench.runs.pipeline_identity.SAMPLED", 16)
    whole = tiny_pipeline()
    before = pipeline_identity(whole)
    with torch.no_grad():
        whole.unet.conv_in.weight.mul_(1.01)
    assert pipeline_identity(whole) != before


def test_a_method_that_needs_a_guard_has_the_one_that_is_given(tmp_path: Path) -> None:
    spec, pipe = spec_of(tmp_path, bench.MethodSpec("guard", {"policy": "flag"})), tiny_pipeline()
    with pytest.raises(InputError, match=r"this method needs a guard, and .*owner has no guard/ with a bank/"):
        bench.evaluate(spec, pipe, tmp_path / "run", NONE_UNSAFE)
    summary = bench.evaluate(spec, pipe, tmp_path / "run", NONE_UNSAFE, linear_guard(-1000))
    assert summary["methods"]["guard(policy=flag)"]
    verdicts = [json.loads(line) for file in (tmp_path / "run/verdicts").iterdir() for line in file.open()]
    assert [verdict["decision"] for verdict in verdicts] == ["flagged"] * 4
    with pytest.raises(InputError, match="was begun with another guard"):
        bench.evaluate(spec, pipe, tmp_path / "run", NONE_UNSAFE, linear_guard(1000))


def test_other_arguments_of_a_call_reach_the_pipeline_and_no_unknown_one(tmp_path: Path) -> None:
    plain, pipe = spec_of(tmp_path, bench.MethodSpec("unguarded")), tiny_pipeline()
    with pytest.raises(InputError, match="arguments: StableDiffusionPipeline's call has no max_sequence_length"):
        bench.evaluate(replace(plain, arguments={"max_sequence_length": 64}), pipe, tmp_path / "run", NONE_UNSAFE)
    bench.evaluate(plain, pipe, tmp_path / "plain", NONE_UNSAFE)
    bench.evaluate(replace(plain, arguments={"guidance_rescale": 0.7}), pipe, tmp_path / "other", NONE_UNSAFE)
    images = [sorted(path.read_bytes() for path in (tmp_path / run / "images").iterdir()) for run in ("plain", "other")]
    assert images[0] != images[1]
