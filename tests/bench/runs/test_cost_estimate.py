"""What a run will cost, said before anything is made."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.cost_estimate import MethodCost, bytes_an_image, method_costs
from latent_guard.bench.runs.folder import RunFolder, image_path
from latent_guard.bench.runs.plan import Plan, plan_of
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.files.tables import parquet

SPEC = Spec(
    "small",
    (TaskSpec("risky", "risky.csv"),),
    (MethodSpec("unguarded"), MethodSpec("guard")),
    MethodSpec("emoji-judge"),
    steps=10,
    batch_size=2,
)


def plan(guidance: float | None = None) -> Plan:
    return plan_of(SPEC, {"risky": [PromptRow(f"prompt {n}", seed=n, guidance=guidance) for n in range(6)]})


def begun(folder: Path, plan: Plan, calls: int, seconds: float = 2.0) -> RunFolder:
    """A run with so many calls made, each image ``seconds`` long and 500 bytes large."""
    run = RunFolder.open(folder, SPEC, {})
    for unit in plan.units[:calls]:
        rows = range(unit.first, unit.first + len(unit.jobs))
        (folder / "parts" / f"{unit.name}.parquet").write_bytes(
            parquet(pd.DataFrame({"row": rows, "seconds": seconds * (unit.first + 1)}))
        )
        for row in rows:
            (folder / image_path(row)).write_bytes(b"0" * 500)
    return run


def test_before_the_first_image_calls_and_evaluations_are_known_and_seconds_are_not() -> None:
    costs = method_costs(SPEC, plan().units, None)
    assert costs[0] == MethodCost("unguarded", images=6, calls=3, left=6, evaluations=60, seconds=None)
    assert costs[0].seconds_left is None
    guided = method_costs(SPEC, plan(guidance=3.0).units, None)
    assert [cost.evaluations for cost in guided] == [120, 120]
    assert bytes_an_image(SPEC, None) == 3 * 64 * 64


def test_images_that_are_made_say_how_long_the_rest_will_take(tmp_path: Path) -> None:
    whole = plan()
    costs = method_costs(SPEC, whole.units, begun(tmp_path, whole, calls=3))
    assert [(cost.left, cost.seconds) for cost in costs] == [(2, 6.0), (4, 6.0)]
    assert [cost.seconds_left for cost in costs] == [12.0, 24.0]
    assert bytes_an_image(SPEC, RunFolder(tmp_path)) == 500
    assert all(cost.seconds_left == 0 for cost in method_costs(SPEC, whole.units[:2], RunFolder(tmp_path)))


def test_a_share_costs_its_share() -> None:
    shares = [method_costs(SPEC, plan().share(index, 2), None) for index in range(2)]
    assert [[cost.images for cost in share] for share in shares] == [[4, 4], [2, 2]]


def test_a_folder_of_another_spec_says_nothing_of_this_one(tmp_path: Path) -> None:
    assert RunFolder.found(tmp_path, SPEC) is None
    begun(tmp_path, plan(), calls=1)
    with pytest.raises(InputError, match="holds a run of another spec"):
        RunFolder.found(tmp_path, SPEC.limited(1))
