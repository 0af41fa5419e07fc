from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.bench.plan import plan_of
from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.spec import ArmSpec, Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.errors import InputError
from latent_guard.shipped import benchmark_specs

TEXT = """name: small
judge: emoji-judge
tasks:
  risky: {prompts: emoji/dev_risky, images: 5}
  benign: {prompts: emoji/dev_benign, kind: benign}
arms:
  - unguarded
  - sld: {preset: strong}
batch_size: 2
"""


def read(tmp_path: Path, text: str = TEXT) -> Spec:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return read_spec(path)


def rows(count: int) -> list[PromptRow]:
    return [PromptRow(f"prompt {number}", seed=number) for number in range(count)]


def test_a_spec_is_read_and_written_as_the_same(tmp_path: Path) -> None:
    spec = read(tmp_path)
    assert [arm.name for arm in spec.arms] == ["unguarded", "sld(preset=strong)"]
    assert [(task.name, task.images, task.kind) for task in spec.tasks] == [
        ("risky", 5, "risky"),
        ("benign", None, "benign"),
    ]
    assert read(tmp_path, yaml.safe_dump(spec.to_dict(), sort_keys=False)) == spec
    assert [task.images for task in spec.limited(3).tasks] == [3, 3]


def test_keys_that_most_specs_do_not_have_are_written_only_where_they_are_given(tmp_path: Path) -> None:
    plain = read(tmp_path).to_dict()
    assert "keep_latents" not in plain
    assert all("arms" not in task for task in plain["tasks"].values())
    spec = read(tmp_path, TEXT.replace("kind: benign", "arms: [sld(preset=strong)]") + "keep_latents: true\n")
    assert spec.keep_latents
    assert read(tmp_path, yaml.safe_dump(spec.to_dict(), sort_keys=False)) == spec


def test_a_task_is_made_by_the_methods_that_it_names(tmp_path: Path) -> None:
    spec = read(tmp_path, TEXT.replace("kind: benign", "arms: [sld(preset=strong)]"))
    plan = plan_of(spec, {"risky": rows(3), "benign": rows(4)})
    assert plan.images == 2 * 5 + 4
    assert {unit.arm.name for unit in plan.units if unit.task.name == "benign"} == {"sld(preset=strong)"}
    assert [unit.name for unit in plan.units][-1] == "benign-00001-01"


@pytest.mark.parametrize("name", benchmark_specs())
def test_what_ships_can_be_read(name: str) -> None:
    assert read_spec(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 2", "batch: 2", r"spec\.yaml, line 9: unknown key 'batch'; known are name, tasks"),
        ("images: 5", "images: 0", r"line 4: images must be a whole number of at least 1, not 0"),
        ("images: 5", "pictures: 5", r"line 4: unknown key 'pictures'; known are prompts, images, kind, protocol"),
        ("kind: benign", "arms: unguarded", r"line 5: a task's arms is a list of names"),
        ("kind: benign", "arms: [sld]", r"line 5: arms must be one or more of unguarded, sld\(.*\), not sld"),
        ("kind: benign", "arms: []", r"line 5: arms must be one or more of unguarded, .*, not none"),
        ("batch_size: 2", "keep_latents: 2", r"keep_latents must be true or false, not 2"),
        ("kind: benign", "kind: nice", r"line 5: kind must be risky or benign"),
        ("  - unguarded\n", "  - [unguarded]\n", r"line 7: give a name, or one name with its options"),
        ("  - unguarded\n", "  - unguarded\n  - unguarded\n", r"arms: 'unguarded' is there twice"),
        ("judge: emoji-judge\n", "", r"line 1: missing key 'judge'"),
        ("arms:", "arms: [", "is not YAML"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, TEXT.replace(old, new))
    assert "\n" not in str(caught.value)


def test_methods_take_turns_over_the_same_batches(tmp_path: Path) -> None:
    spec = read(tmp_path)
    plan = plan_of(spec, {"risky": rows(3), "benign": rows(4)})
    assert plan.images == 2 * (5 + 4)
    assert [unit.arm.method for unit in plan.units[:4]] == ["unguarded", "sld", "unguarded", "sld"]
    assert plan.units[0].jobs == plan.units[1].jobs
    assert [unit.first for unit in plan.units] == [0, 2, 4, 6, 8, 9, 10, 12, 14, 16]
    assert len({unit.name for unit in plan.units}) == len(plan.units)


def test_shares_are_all_of_it_with_as_much_of_every_method(tmp_path: Path) -> None:
    plan = plan_of(read(tmp_path), {"risky": rows(6), "benign": rows(8)})
    shares = [plan.share(index, 2) for index in range(2)]
    assert sorted(unit.name for share in shares for unit in share) == sorted(unit.name for unit in plan.units)
    for share in shares:
        methods = [unit.arm for unit in share]
        assert methods.count(ArmSpec("unguarded")) == methods.count(plan.units[1].arm)
