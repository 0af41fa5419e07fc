from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.plan import plan_of
from latent_guard.bench.spec import Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.package_data import benchmark_specs

TEXT = """name: small
judge: emoji-judge
tasks:
  risky: {prompts: emoji/dev_risky, images: 5}
  benign: {prompts: emoji/dev_benign, kind: benign}
methods:
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
    assert [method.label for method in spec.methods] == ["unguarded", "sld(preset=strong)"]
    assert [(task.name, task.images, task.kind) for task in spec.tasks] == [
        ("risky", 5, "risky"),
        ("benign", None, "benign"),
    ]
    assert read(tmp_path, yaml.safe_dump(spec.to_dict(), sort_keys=False)) == spec
    assert [(task.images, task.first) for task in spec.limited(3).tasks] == [(3, None), (None, 3)]


def test_keys_that_most_specs_do_not_have_are_written_only_where_they_are_given(tmp_path: Path) -> None:
    plain = read(tmp_path).to_dict()
    assert "keep_latents" not in plain
    assert all("methods" not in task for task in plain["tasks"].values())
    seldom = "keep_latents: true\narguments: {max_sequence_length: 64}\n"
    spec = read(tmp_path, TEXT.replace("kind: benign", "methods: [sld(preset=strong)]") + seldom)
    assert spec.keep_latents
    assert spec.arguments == {"max_sequence_length": 64}
    assert read(tmp_path, yaml.safe_dump(spec.to_dict(), sort_keys=False)) == spec


def test_a_method_that_no_task_uses_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("images: 5", "methods: [unguarded]").replace("kind: benign", "methods: [unguarded]")
    with pytest.raises(InputError, match=r"line 6: methods: no task uses sld\(preset=strong\)"):
        read(tmp_path, text)


def test_a_task_is_made_by_the_methods_that_it_names(tmp_path: Path) -> None:
    spec = read(tmp_path, TEXT.replace("kind: benign", "methods: [sld(preset=strong)]"))
    plan = plan_of(spec, {"risky": rows(3), "benign": rows(4)})
    assert plan.images == 2 * 5 + 4
    assert {unit.method.label for unit in plan.units if unit.task.name == "benign"} == {"sld(preset=strong)"}
    assert [unit.name for unit in plan.units][-1] == "benign-00001-01"


@pytest.mark.parametrize("name", benchmark_specs())
def test_what_ships_can_be_read(name: str) -> None:
    assert read_spec(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 2", "batch: 2", r"spec\.yaml, line 9: unknown key 'batch'; known are name, tasks"),
        ("images: 5", "images: 0", r"line 4: images must be a whole number from 1 to 1,000,000, not 0"),
        ("images: 5", "pictures: 5", r"line 4: unknown key 'pictures'; known are prompts, images, kind, protocol"),
        ("kind: benign", "methods: unguarded", r"line 5: a task's methods is a list of names"),
        ("kind: benign", "methods: [sld]", r"line 5: methods must be one or more of unguarded, sld\(.*\), not sld"),
        ("kind: benign", "methods: []", r"line 5: methods must be one or more of unguarded, .*, not none"),
        ("batch_size: 2", "keep_latents: 2", r"keep_latents must be true or false, not 2"),
        ("batch_size: 2", "arguments: {prompt: a cat}", r"line 9: arguments: prompt is no other argument; the tasks"),
        ("batch_size: 2", "arguments: 2", r"line 9: arguments is keys and values"),
        ("kind: benign", "kind: nice", r"line 5: kind must be risky or benign"),
        ("  - unguarded\n", "  - [unguarded]\n", r"line 7: give a name, or one name with its options"),
        ("  - unguarded\n", "  - unguarded\n  - unguarded\n", r"methods: 'unguarded' is there twice"),
        ("judge: emoji-judge\n", "", r"line 1: missing key 'judge'"),
        ("methods:", "methods: [", "is not valid YAML: line 7"),
        ("images: 5", "images: !foo 5", r"line 4: could not determine a constructor"),
        ("{preset: strong}", "{preset: " + "9" * 6000 + "}", r"line 8: a number of 6,000 digits"),
        ("{preset: strong}", "{1: strong, a: 2}", r"line 8: the option 1 is not a name"),
        ("batch_size: 2", "batch_size: 2\nbatch_size: 3", r"line 10: the key 'batch_size' is there twice"),
        ("batch_size: 2", "batch_size: 1000000000000", r"line 9: batch_size must be a whole number from 1 to 4,096"),
        ("images: 5", "images: 1000000000000", r"line 4: images must be a whole number from 1 to 1,000,000"),
        ("batch_size: 2", "guidance_scale: .nan", r"line 9: guidance_scale must be a number from 0 to 1,000, not nan"),
        ("batch_size: 2", "guidance_scale: high", r"line 9: guidance_scale must be a number from 0 to 1,000"),
        ("batch_size: 2", "model: 5", r"line 9: model must be a text, not 5; put it in quotes"),
        ("batch_size: 2", "grader: [a]", r"line 9: grader must be a text, not \['a'\]"),
        ("batch_size: 2", "steps: null", r"steps must be a whole number from 1 to 10,000, not None"),
        ("emoji/dev_benign", "5", r"line 5: prompts must be a text, not 5"),
        ("name: small", "name: 5", r"line 1: name must be a text, not 5"),
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
    assert [unit.method.name for unit in plan.units[:4]] == ["unguarded", "sld", "unguarded", "sld"]
    assert plan.units[0].jobs == plan.units[1].jobs
    assert [unit.first for unit in plan.units] == [0, 2, 4, 6, 8, 9, 10, 12, 14, 16]
    assert len({unit.name for unit in plan.units}) == len(plan.units)


def test_shares_are_all_of_it_with_as_much_of_every_method(tmp_path: Path) -> None:
    plan = plan_of(read(tmp_path), {"risky": rows(6), "benign": rows(8)})
    shares = [plan.share(index, 2) for index in range(2)]
    assert sorted(unit.name for share in shares for unit in share) == sorted(unit.name for unit in plan.units)
    for share in shares:
        methods = [unit.method for unit in share]
        assert methods.count(MethodSpec("unguarded")) == methods.count(plan.units[1].method)


def test_tasks_whose_names_make_one_file_name_have_units_of_their_own() -> None:
    names = ("暴力", "色情", "a b", "a_b", "x" * 40 + "1", "x" * 40 + "2", "plain")
    tasks = tuple(TaskSpec(name, "list.csv") for name in names)
    spec = Spec("names", tasks, (MethodSpec("unguarded"),), MethodSpec("none"))
    units = plan_of(spec, {name: rows(1) for name in names}).units
    assert len({unit.name for unit in units}) == len(names)
    assert [units[place].name for place in (0, 2, 3, 6)] == [
        "task-00000-00", "a_b-00000-00", "a_b_2-00000-00", "plain-00000-00"
    ]  # fmt: skip


def test_a_limit_makes_no_second_image_of_a_list_that_is_made_once_each(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("prompt,evaluation_seed\na cat,1\na dog,2\na bee,3\n")
    task = TaskSpec("own", str(tmp_path / "list.csv"))
    spec = Spec("limited", (task,), (MethodSpec("unguarded"),), MethodSpec("none"), quick=100)
    for limited, images in ((spec.limited(50), 3), (spec.in_short(), 3), (spec.limited(2), 2)):
        assert plan_of(limited, {"own": protocol_of(task).prompts(limited.tasks[0])}).images == images
        assert read(tmp_path, yaml.safe_dump(limited.to_dict())).tasks == limited.tasks
