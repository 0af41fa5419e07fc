"""Shards made in folders of their own, put together: the same table as of one run, whatever stopped the merge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs import merge as merging
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.runs.plan import plan_of
from latent_guard.bench.runs.run import Opened, finish, make, open_spec, run
from latent_guard.bench.runs.task_prompts import TaskPrompts
from latent_guard.bench.spec_file import read_spec
from latent_guard.cli.app import app
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.tables import parquet
from latent_guard.loading import load_pipeline
from latent_guard.worlds.emoji.bundle import bundle_folder

SPEC = """name: shards
judge: emoji-judge
steps: 1
batch_size: 2
tasks: {risky: {prompts: PROMPTS, images: 6}}
methods: [unguarded, {negative-prompt: {guidance_scale: 2}}]
"""
PROMPTS = "prompt,evaluation_seed\n" + "".join(f"a cat and {number} stars,{number}\n" for number in range(6))


@dataclass(frozen=True)
class Made:
    """The same spec by one process, and by two in folders of their own."""

    opened: Opened
    whole: Path
    shards: tuple[Path, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "prompts.csv").write_text(PROMPTS)
    (folder / "spec.yaml").write_text(SPEC.replace("PROMPTS", str(folder / "prompts.csv")))
    pipe = load_pipeline(None, 20, 16)
    pipe.set_progress_bar_config(disable=True)
    opened = open_spec(read_spec(folder / "spec.yaml"), pipe, Path(bundle_folder()), folder / "cache")
    run(opened, folder / "whole", "whole")
    shards = (folder / "first", folder / "second")
    for number, shard in enumerate(shards):
        make(opened, shard, (number, 2), show_progress=False)
    return Made(opened, folder / "whole", shards)


def merge(*arguments: Path | str) -> Result:
    return CliRunner().invoke(app, ["bench", "merge", *map(str, arguments)])


def copies(made: Made, folder: Path) -> list[Path]:
    """Of the shards, to be spoiled."""
    return [Path(shutil.copytree(shard, folder / shard.name)) for shard in made.shards]


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "records.parquet").drop(columns=["seconds", "memory"], errors="ignore")


def same_run(folder: Path, whole: Path) -> bool:
    pd.testing.assert_frame_equal(table(folder), table(whole))
    return all((folder / image).read_bytes() == (whole / image).read_bytes() for image in table(whole)["image"])


def test_shards_give_the_table_and_the_images_of_one_run(made: Made, tmp_path: Path) -> None:
    first = merge(made.shards[0], "--out", tmp_path / "out")
    assert (first.exit_code, "holds 8 of 12 images; 4 are still to be made" in first.output) == (0, True)
    assert not (tmp_path / "out" / "records.parquet").exists()
    second = merge(*made.shards, "--out", tmp_path / "out")
    assert (second.exit_code, "holds 12 images; wrote" in second.output) == (0, True), second.output
    assert same_run(tmp_path / "out", made.whole)
    assert (tmp_path / "out" / "report.html").exists()
    environment = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert environment == made.opened.environment


def test_what_lies_beside_a_part_under_its_name_goes_with_it(made: Made, tmp_path: Path) -> None:
    first, second = copies(made, tmp_path)
    name = next((first / "parts").iterdir()).stem
    (first / "beside").mkdir()
    (first / "beside" / f"{name}.jsonl").write_text("{}\n")
    assert merge(first, second, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "beside" / f"{name}.jsonl").read_text() == "{}\n"


def test_a_merge_that_is_stopped_anywhere_goes_on(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_link, left = merging.link_atomic, [0]

    def stopping(source: Path, path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        whole_link(source, path)

    monkeypatch.setattr(merging, "link_atomic", stopping)
    spec, out = made.opened.bench.spec, RunFolder.open(tmp_path, made.opened.bench.spec, {})
    shards = [merging.Shard.read(shard, spec) for shard in made.shards]
    for left[0] in (1, 2, 3, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            merging.merge(shards, out, made.opened.plan)
    left[0] = 100
    merging.merge(shards, out, made.opened.plan)
    assert finish(made.opened, tmp_path, "merged").finished
    assert same_run(tmp_path, made.whole)


def test_where_files_have_no_second_name_they_are_copied(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr("os.link", refuse)
    assert merge(*made.shards, "--out", tmp_path / "out").exit_code == 0
    assert same_run(tmp_path / "out", made.whole)
    assert not list((tmp_path / "out").rglob("*.part"))


def _other_judge(shard: Path) -> None:
    environment = json.loads((shard / "environment.json").read_text())
    (shard / "environment.json").write_text(json.dumps({**environment, "judge": "another"}))


def _other_guard(shard: Path) -> None:
    environment = json.loads((shard / "environment.json").read_text())
    (shard / "environment.json").write_text(json.dumps({**environment, "guard_code": "another"}))


def _other_seed(shard: Path) -> None:
    part = next((shard / "parts").iterdir())
    pd.read_parquet(part).assign(seed=99).to_parquet(part, index=False)


def _other_spec(shard: Path) -> None:
    text = (shard / "spec.yaml").read_text()
    (shard / "spec.yaml").write_text(text.replace("steps: 1", "steps: 2"))
    (shard / "checksums" / "run.json").unlink()  # else the file was changed after the run


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_judge, "second and .*first differ in their judge"),
        (_other_guard, "second and .*first differ in their guard_code"),
        (_other_seed, "second: risky-00001-00 was not made of the prompts that .*prompts.csv now holds"),
        (_other_spec, "second holds a run of another spec"),
        (lambda shard: shutil.rmtree(shard / "images"), r"images/\d+.png is not there, though risky-\d+-00 was made"),
        (lambda shard: next((shard / "parts").iterdir()).write_bytes(b"no"), "the part risky-.* is damaged"),
        (lambda shard: (shard / "environment.json").unlink(), "second is no run folder"),
    ],
)
def test_what_cannot_be_one_run_is_refused(made: Made, tmp_path: Path, spoil: object, message: str) -> None:
    first, second = copies(made, tmp_path)
    for part in sorted((second / "parts").iterdir())[1:]:
        part.unlink()
    spoil(second)  # type: ignore[operator]
    done = merge(first, second, "--out", tmp_path / "out")
    assert done.exception is not None
    assert not isinstance(done.exception, SystemExit)
    with pytest.raises(type(done.exception), match=message):
        raise done.exception
    assert not (tmp_path / "out" / "records.parquet").exists()


def test_a_call_that_two_shards_made_differently_is_refused_and_the_same_one_twice_is_not(
    made: Made, tmp_path: Path
) -> None:
    first, second = copies(made, tmp_path)
    assert merge(first, second, "--out", tmp_path / "out").exit_code == 0
    for part in list((second / "parts").iterdir()):
        write_atomic(part, parquet(pd.read_parquet(part).assign(unsafe=True, score=0.99)))
    done = merge(second, "--out", tmp_path / "out")
    assert "made risky-" in str(done.exception)
    assert merge(first, "--out", tmp_path / "out").exit_code == 0
    assert "is named twice" in str(merge(first, first, "--out", tmp_path / "out").exception)


def _with_prompts(opened: Opened, prompts: Mapping[str, Sequence[PromptRow]]) -> Opened:
    """As opening it gives, where the list was edited since."""
    environment = {**opened.environment, "prompts": "another hash"}
    return replace(
        opened, prompts=TaskPrompts(prompts, {}), plan=plan_of(opened.bench.spec, prompts), environment=environment
    )


def test_a_run_is_not_gone_on_with_once_its_list_was_edited(made: Made, tmp_path: Path) -> None:
    first, _ = copies(made, tmp_path)
    before = (first / "environment.json").read_bytes()
    rows = list(made.opened.prompts.rows["risky"])
    begun = _with_prompts(made.opened, {"risky": [replace(rows[0], prompt="a dog"), *rows[1:]]})
    with pytest.raises(InputError, match=r"risky-00000-00 was not made of the prompts that .*prompts.csv now holds"):
        make(begun, first, show_progress=False)
    yet_to_come = _with_prompts(made.opened, {"risky": [*rows[:2], replace(rows[2], prompt="a dog"), *rows[3:]]})
    with pytest.raises(InputError, match="first was begun with another prompts"):
        make(yet_to_come, first, show_progress=False)
    assert (first / "environment.json").read_bytes() == before


@pytest.mark.parametrize("key", ["judge", "grader", "methods", "scheduler", "model"])
def test_a_run_is_not_gone_on_with_by_another_setting(made: Made, tmp_path: Path, key: str) -> None:
    first, _ = copies(made, tmp_path)
    other = replace(made.opened, environment={**made.opened.environment, key: "another"})
    with pytest.raises(InputError, match=f"first was begun with another {key}"):
        make(other, first, show_progress=False)


def test_a_run_of_before_that_says_less_of_what_made_it_is_gone_on_with(made: Made, tmp_path: Path) -> None:
    first, _ = copies(made, tmp_path)
    environment = json.loads((first / "environment.json").read_text())
    (first / "environment.json").write_text(json.dumps({"judge": environment["judge"]}))
    make(made.opened, first, show_progress=False)
    assert finish(made.opened, first, "gone on").finished
