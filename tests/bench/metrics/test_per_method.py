"""The summary of a run: hand-checked figures, curves, and a guard's word against the judge's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latent_guard.bench.metrics.best_method import best_method
from latent_guard.bench.metrics.check_accuracy import calibration, observed, precision_recall
from latent_guard.bench.metrics.per_method import Images, metrics_of
from latent_guard.bench.metrics.summary import summarise
from latent_guard.bench.metrics.trade_off import curves, shown_by_method
from latent_guard.bench.runs.grading import Graded
from latent_guard.bench.runs.peak_memory import measured_memory
from latent_guard.bench.task import MethodSpec
from latent_guard.guidance.run import Check

UNGUARDED, BLOCKER = MethodSpec("unguarded"), MethodSpec("check-then-block", {"checker": "pixel-clip"})
SEEDS = 2


def rows(method: MethodSpec, kind: str, **columns: Any) -> pd.DataFrame:
    """Two prompts with two seeds each."""
    count = 2 * SEEDS
    own = {
        "method": method.label, "task": kind, "kind": kind, "prompt": "a cake", "prompt_index": [0, 0, 1, 1],
        "seed": [5, 6, 7, 8], "categories": "violence", "unsafe": False, "blocked": False, "touched": False,
        "evaluations": 40.0, "seconds": 0.1, "batch": [f"{kind}-{n}" for n in (0, 0, 1, 1)],
        "satisfied": pd.array([True] * count, dtype="boolean"),
        "distance": 0.0, "clip_score": 30.0,
    }  # fmt: skip
    return pd.DataFrame({**own, **columns}, index=range(count))


def graded(*parts: pd.DataFrame) -> Graded:
    records = pd.concat(parts, ignore_index=True)
    records["row"] = range(len(records))
    features = np.random.default_rng(0).normal(size=(len(records), 8))
    return Graded(records, features / np.linalg.norm(features, axis=1, keepdims=True))


def two_methods() -> Graded:
    blocked = [True, False, False, False]
    return graded(
        rows(UNGUARDED, "risky", unsafe=[True, True, True, False]),
        rows(BLOCKER, "risky", unsafe=[False, True, False, False]),
        rows(UNGUARDED, "benign"),
        rows(BLOCKER, "benign", blocked=blocked, clip_score=[np.nan, 30, 30, 30]),
    )


def test_safety_and_what_it_costs_stand_side_by_side() -> None:
    found = summarise(two_methods(), pd.DataFrame(), [UNGUARDED, BLOCKER])["methods"][
        "check-then-block(checker=pixel-clip)"
    ]
    assert found["risky"]["unsafe"]["value"] == 0.25
    assert found["risky"]["unsafe: violence"]["value"] == 0.25
    assert found["benign"]["over_refusal"]["value"] == 0.25
    assert found["benign"]["utility"]["value"] == 0.75
    assert found["benign"]["clip_score"] == pytest.approx({"value": 30, "low": 30, "high": 30, "count": 3})
    assert "over_refusal" not in found["risky"]


def test_of_two_calls_whose_seconds_differ_the_interval_is_as_wide_as_both() -> None:
    seconds, one_call = [0.1, 0.1, 0.3, 0.3], "risky-00000"
    apart, together = (
        metrics_of(Images(rows(UNGUARDED, "risky", seconds=seconds, prompt_index=range(4), **batch), None), None)[
            "seconds"
        ]
        for batch in ({}, {"batch": one_call})
    )
    assert (apart.low, apart.high) == pytest.approx((0.1, 0.3))
    assert np.isnan(together.low), "one call has no spread"


def test_no_unsafe_image_of_a_hundred_leaves_doubt() -> None:
    none = rows(UNGUARDED, "benign").iloc[[0] * 100].reset_index(drop=True).assign(prompt_index=range(100))
    found = metrics_of(Images(none, None), None)
    for name in ("unsafe", "blocked", "touched", "over_refusal"):
        assert (found[name].value, found[name].low) == (0, 0)
        assert found[name].high == pytest.approx(0.037, abs=1e-3)
    assert found["satisfied"].low == pytest.approx(0.963, abs=1e-3)


def test_the_summary_of_a_single_prompt_is_json() -> None:
    of_one = {"prompt_index": 0, "batch": "risky-00000"}
    methods = [
        rows(method, kind, **of_one, unsafe=[method is UNGUARDED] * 4)
        for method in (UNGUARDED, BLOCKER)
        for kind in ("risky", "benign")
    ]
    found = summarise(graded(*methods), pd.DataFrame(), [UNGUARDED, BLOCKER])
    json.dumps(found, allow_nan=False)
    assert found["comparisons"][0]["difference"]["low"] is None
    assert found["best_method"]["against"][0]["difference"]["low"] is None


def test_what_only_some_methods_ran_is_held_against_none() -> None:
    whole = two_methods().records
    guard = MethodSpec("guard")
    extra = [
        rows(BLOCKER, "benign", task="more", satisfied=pd.array([False] * 4, dtype="boolean")),
        rows(BLOCKER, "risky", task="worse", unsafe=True),
        rows(guard, "benign"),
    ]
    records = pd.concat([whole, *extra], ignore_index=True)
    assert shown_by_method(records) == shown_by_method(whole), (
        "another benign task has no twins, another risky one no rivals"
    )
    assert best_method(records) == best_method(whole)
    assert curves(records, [UNGUARDED, BLOCKER, guard]) == {}


def test_a_curve_has_a_point_for_each_setting_of_a_method() -> None:
    stricter = MethodSpec("check-then-block", {"checker": "pixel-clip", "shift": -1.0})
    first = two_methods().records
    again = first[first["method"] == BLOCKER.label].assign(method=stricter.label, unsafe=False)
    records = pd.concat([first, again], ignore_index=True)
    assert curves(records, [UNGUARDED, BLOCKER, stricter]) == {
        "check-then-block(pixel-clip)": [
            {"strength": "as it is", "unsafe": 0.25, "utility": 0.75},
            {"strength": "shift -1", "unsafe": 0.0, "utility": 0.75},
        ]
    }
    assert curves(first, [UNGUARDED, BLOCKER]) == {}, "one setting is no curve"


def test_the_safest_method_that_keeps_enough_is_named_beside_all_others() -> None:
    many, half = range(200), [n % 2 == 0 for n in range(200)]

    def method(spec: MethodSpec, unsafe: list[bool], found: list[bool], seconds: float) -> list[pd.DataFrame]:
        own = {"prompt_index": many, "seed": many, "seconds": seconds}
        base = rows(spec, "risky").iloc[[0] * 200].reset_index(drop=True)
        risky = base.assign(**own, unsafe=unsafe)
        benign = base.assign(**own, task="benign", kind="benign", satisfied=pd.array(found, dtype="boolean"))
        return [risky, benign]

    none, every = [False] * 200, [True] * 200
    guard, eager = MethodSpec("guard"), MethodSpec("negative-prompt")
    parts = [
        *method(UNGUARDED, half, every, 0.1),
        *method(guard, [n < 4 for n in many], every, 0.2),
        *method(eager, none, half, 0.3),
    ]
    found = best_method(pd.concat(parts, ignore_index=True))
    assert found is not None
    assert (found["method"], found["unsafe"], found["utility"]) == ("guard", 0.02, 1.0)
    others = {entry["method"]: entry for entry in found["against"]}
    assert others["unguarded"]["significant"]
    assert others["unguarded"]["difference"]["value"] == pytest.approx(0.48)
    assert others["unguarded"]["times_its_seconds"] == pytest.approx(0.5)
    assert not others["negative-prompt"]["keeps_utility"], "it shows nothing unsafe, and half of what was asked for"


def test_a_collapsed_method_has_no_diversity_left() -> None:
    records = rows(UNGUARDED, "risky")
    spread = np.eye(4)
    collapsed = np.repeat(spread[:1], 4, axis=0)
    before = Images(records, spread)
    assert metrics_of(before, before)["relative_diversity"].value == pytest.approx(1)
    assert metrics_of(Images(records, collapsed), before)["relative_diversity"].value == pytest.approx(0)


def test_kid_compares_benign_images_with_others_of_the_same_prompts() -> None:
    rng = np.random.default_rng(1)
    records = pd.concat([rows(UNGUARDED, "benign", prompt_index=[n, n, -n, -n]) for n in range(1, 41)])
    records = records.reset_index(drop=True)

    def unit(shift: float) -> np.ndarray:
        values = rng.normal(size=(len(records), 8)) + shift
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    unguarded = Images(records, unit(0.0))
    same, other = (metrics_of(Images(records, unit(shift)), unguarded)["kid"] for shift in (0.0, 1.0))
    assert same.low < 0 < same.high
    assert other.low > 0.1


def test_images_of_one_prompt_that_resemble_each_other_are_no_distance_between_methods() -> None:
    rng = np.random.default_rng(2)
    records = pd.concat([rows(UNGUARDED, "benign", prompt_index=[n, n, -n, -n]) for n in range(1, 201)])
    records = records.reset_index(drop=True)
    centres = {prompt: rng.normal(size=8) for prompt in records["prompt_index"].unique()}
    features = np.stack([centres[prompt] for prompt in records["prompt_index"]])
    unguarded = Images(records, features / np.linalg.norm(features, axis=1, keepdims=True))
    found = metrics_of(unguarded, unguarded)["kid"]
    assert abs(found.value) < 2 * (found.high - found.value)


def look(step: int, level: float, scores: list[list[float]]) -> Check:
    seen = torch.tensor(scores)
    return Check(0, step, level, seen, torch.zeros_like(seen), torch.zeros_like(seen, dtype=torch.long))


def test_a_guard_that_only_looks_is_held_against_the_judge() -> None:
    records = rows(MethodSpec("guard", {"policy": "flag"}), "risky", unsafe=[True, True, False, False], row=range(4))
    nan = float("nan")
    looks = [
        look(3, 0.8, [[1.0, -9.0], [-1.0, -2.0], [2.0, 0.0], [nan, nan]]),  # the fourth was left out
        look(4, 0.0, [[9.0, -9.0], [-9.0, 9.0], [-9.0, -9.0], [-9.0, -9.0]]),
    ]
    table = observed(looks, records["row"])
    early, final = precision_recall(table, records)
    assert early == {"method": "guard(policy=flag)", "step": 3, "precision": 0.5, "recall": 0.5}
    assert final == {"method": "guard(policy=flag)", "step": 5, "precision": 1.0, "recall": 1.0}
    low, high = calibration(table, records)
    assert (low["frequency"], low["count"], high["frequency"], high["count"]) == (0.0, 2, 1.0, 2)
    assert low["probability"] == pytest.approx(1 / (1 + np.exp(9)))


def test_memory_is_what_the_work_took() -> None:
    with measured_memory() as memory:
        held = np.ones(2**25)  # 256 MiB
    assert np.isnan(memory.added) or memory.added > 200
    assert held.size
