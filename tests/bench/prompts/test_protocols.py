"""Published protocols in a spec: what is read of their lists, which images are one unit, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.plan import plan_of
from latent_guard.bench.runs.task_prompts import out_of_domain
from latent_guard.bench.spec import Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from latent_guard.package_data import benchmark_list
from tests.bench.runs.test_evaluator_export import LINE

TEXT = """name: published
judge: emoji-judge
tasks:
  i2p:
    prompts: list.csv
    protocol: i2p
    mode: repo
    images: 7
methods: [unguarded, guard]
"""


def read(tmp_path: Path, text: str = TEXT) -> Spec:
    (tmp_path / "spec.yaml").write_text(text)
    return read_spec(tmp_path / "spec.yaml")


def spec_of(*tasks: TaskSpec, **changes: object) -> Spec:
    return Spec("x", tasks, (MethodSpec("unguarded"), MethodSpec("guard")), MethodSpec("emoji-judge"), **changes)  # type: ignore[arg-type]


def task_rows(task: TaskSpec) -> list[PromptRow]:
    return protocol_of(task).prompts(task)


def i2p_list(tmp_path: Path, count: int = 4) -> Path:
    path = tmp_path / "list.csv"
    lines = [f"prompt {n},{'hate' if n % 2 else 'sexual'},{n % 2},{n},{1.5 + n}" for n in range(count)]
    header = "prompt,categories,hard,sd_seed,sd_guidance_scale"
    path.write_text("\n".join([header, *lines, ",hate,0,9,1"]) + "\n")
    return path


def test_a_protocol_is_read_and_written_as_the_same_and_says_nothing_where_nothing_was_said(tmp_path: Path) -> None:
    spec = read(tmp_path)
    assert read(tmp_path, yaml.safe_dump(spec.to_dict(), sort_keys=False)) == spec
    assert spec.to_dict()["tasks"]["i2p"].keys() == {"prompts", "images", "kind", "protocol", "mode"}
    assert spec_of(TaskSpec("a", "b.csv")).to_dict()["tasks"]["a"] == {
        "prompts": "b.csv",
        "images": None,
        "kind": "risky",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mode: repo", "mode: both", r"spec\.yaml, line 7: mode must be paper or repo, not 'both'"),
        ("mode: repo", "split: easy", r"line 7: split must be all or hard or toxic"),
        ("protocol: i2p", "protocol: i3p", r"line 6: protocol must be i2p or geneval or t2i-compbench"),
        ("protocol: i2p", "protocol: geneval", r"line 7: mode belongs to protocol: i2p"),
        ("images: 7", "sample: 0", r"line 8: sample must be a whole number from 1 to 1,000,000"),
        ("judge:", "guidance_scale: 3\njudge:", r"line 2: guidance_scale: under protocol i2p its mode"),
    ],
)
def test_what_does_not_go_together_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, TEXT.replace(old, new))


def test_all_images_of_an_i2p_prompt_are_one_unit_of_calls_of_five(tmp_path: Path) -> None:
    task = TaskSpec("i2p", str(i2p_list(tmp_path)), 7, protocol="i2p")
    plan = plan_of(spec_of(task), {"i2p": task_rows(task)})
    assert (plan.images, plan.calls, len(plan.units)) == (2 * 4 * 7, 2 * 4 * 2, 2 * 4)
    assert [len(jobs) for jobs in plan.units[0].in_calls] == [5, 2]
    assert sum(plan.units[0].in_calls, ()) == plan.units[0].jobs == plan.units[1].jobs
    assert [unit.first for unit in plan.units[:3]] == [0, 7, 14]


def test_the_guidance_scale_is_the_lists_in_paper_mode_alone(tmp_path: Path) -> None:
    path = str(i2p_list(tmp_path))
    scales = {
        m: [row.guidance for row in task_rows(TaskSpec("x", path, protocol="i2p", mode=m))] for m in (None, "repo")
    }
    assert scales == {None: [1.5, 2.5, 3.5, 4.5], "repo": [None] * 4}


def test_limit_counts_prompts_and_quick_takes_a_sample_with_every_category(tmp_path: Path) -> None:
    task = TaskSpec("i2p", str(i2p_list(tmp_path, 12)), protocol="i2p")
    (limited,) = spec_of(task).limited(3).tasks
    assert [row.prompt for row in task_rows(limited)] == ["prompt 0", "prompt 1", "prompt 2"]
    (short,) = spec_of(task, quick=4).in_short().tasks
    assert sorted(row.categories for row in task_rows(short)) == [("hate",)] * 2 + [("sexual",)] * 2
    assert [row.prompt for row in task_rows(TaskSpec("x", task.prompts, protocol="i2p", split="hard", first=1))] == [
        "prompt 1"
    ]


def test_geneval_makes_four_calls_of_one_and_compbench_has_a_seed_an_image(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(LINE + "\n")
    (tmp_path / "color_val.txt").write_text("a green bench\n")
    tasks = (
        TaskSpec("geneval", str(tmp_path / "metadata.jsonl"), None, "benign", "geneval"),
        TaskSpec("color", str(tmp_path / "color_val.txt"), None, "benign", "t2i-compbench"),
    )
    plan = plan_of(spec_of(*tasks), {task.name: task_rows(task) for task in tasks})
    geneval, compbench = plan.units[0], plan.units[2]
    assert [len(jobs) for jobs in geneval.in_calls] == [1, 1, 1, 1]
    assert [len(jobs) for jobs in compbench.in_calls] == [10]
    assert len({job.seed for job in compbench.jobs}) == 10


def test_the_shipped_model_means_something_on_its_worlds_prompts_alone() -> None:
    ours = TaskSpec("i2p", "emoji-i2p.csv", protocol="i2p")
    rows = {"i2p": task_rows(ours)}
    assert len(rows["i2p"]) == 120
    assert out_of_domain(spec_of(ours), rows) == {}
    theirs = {"i2p": [*rows["i2p"], PromptRow("a portrait of somebody", 1)]}
    assert out_of_domain(spec_of(ours), theirs)["out_of_domain"].startswith("OUT OF DOMAIN")
    assert out_of_domain(spec_of(ours, model="somebody/else"), theirs) == {}
    own = {"own": [PromptRow("a pizza and a dagger at a birthday", 1)]}
    assert out_of_domain(spec_of(TaskSpec("own", "own.csv")), own) == {}  # a list of one's own, in the world's words


def test_real_prompts_under_no_protocol_are_stamped_too_unless_they_are_benign() -> None:
    theirs = {"list": [PromptRow("a portrait of somebody", 1)]}
    assert out_of_domain(spec_of(TaskSpec("list", "AIML-TUDA/i2p")), theirs)["out_of_domain"].endswith("(list)")
    assert out_of_domain(spec_of(TaskSpec("list", "harmless.csv", kind="benign")), theirs) == {}


def test_the_list_that_ships_lies_where_the_specs_do() -> None:
    assert benchmark_list("emoji-i2p.csv").is_file()
