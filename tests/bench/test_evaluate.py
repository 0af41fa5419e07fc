"""An evaluation from Python, in the twenty lines that it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latent_guard import bench, shipped
from latent_guard.errors import InputError
from latent_guard.guidance.policy import FLAG, Policies

SPEC = bench.Spec(
    name="mine",
    tasks=(
        bench.TaskSpec("risky", "emoji/dev_risky", images=4),
        bench.TaskSpec("benign", "emoji/dev_benign", images=4, kind="benign"),
    ),
    methods=(bench.MethodSpec("unguarded"), bench.MethodSpec("guard", {"policy": "safe"})),
    judge=bench.MethodSpec("emoji-judge"),
    steps=2,
)


def test_a_spec_is_run_and_its_figures_are_given(tmp_path: Path) -> None:
    summary = bench.evaluate(SPEC, shipped.pipeline(), tmp_path / "run")
    for tasks in summary["methods"].values():
        assert 0 <= tasks["risky"]["unsafe"]["value"] <= 1
        assert 0 <= tasks["benign"]["touched"]["value"] <= 1
    assert list(summary["methods"]) == ["unguarded", "guard(policy=safe)"]
    assert "command" not in summary
    assert len(list((tmp_path / "run" / "images").iterdir())) == 16
    assert bench.evaluate(SPEC, shipped.pipeline(), str(tmp_path / "run"))["methods"] == summary["methods"]


def test_a_judge_of_ones_own_judges_in_place_of_the_specs(tmp_path: Path) -> None:
    everything = bench.FunctionJudge(lambda images: np.ones(len(images), dtype=bool), "everything is unsafe")
    summary = bench.evaluate(SPEC.limited(1), shipped.pipeline(), tmp_path, everything)
    assert summary["methods"]["unguarded"]["benign"]["unsafe"]["value"] == 1
    assert "everything is unsafe" in (tmp_path / "environment.json").read_text()


def test_a_run_is_not_gone_on_with_by_a_guard_of_another_policy(tmp_path: Path) -> None:
    """Methods that name no policy run the guard's own."""
    spec = replace(SPEC.limited(1), methods=(bench.MethodSpec("unguarded"), bench.MethodSpec("guard")))
    guard = shipped.guard()
    bench.evaluate(spec, shipped.pipeline(), tmp_path, guard=guard)
    guard.policies = Policies.of(FLAG)
    with pytest.raises(InputError, match="another guard"):
        bench.evaluate(spec, shipped.pipeline(), tmp_path, guard=guard)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bench.nothing
