"""Every file of a finished run, damaged in every way: `bench run` mends it, and every reader says so in a line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from latent_guard.bench.runs.run import Opened, finish, make, open_spec, run
from latent_guard.bench.spec_file import read_spec
from latent_guard.cli.app import app
from latent_guard.errors import InputError, LatentGuardError
from latent_guard.loading import load_pipeline
from tests.damage import DAMAGES, a_folder, bit_flipped, deleted, garbage, longer, truncated

SPEC = """name: damaged
judge: {{emoji-judge: {{folder: {bundle}/judge}}}}
model: {bundle}/pipeline
steps: 1
batch_size: 2
keep_latents: true
tasks: {{risky: {{prompts: {prompts}, images: 4}}}}
methods: [unguarded, {{guard: {{policy: flag}}}}]
"""
PROMPTS = "prompt,evaluation_seed\n" + "".join(f"a cat and {number} stars,{number}\n" for number in range(4))
KINDS = ("spec.yaml", "environment.json", "records.parquet", "summary.json", "checksums/run.json")
OF_CALLS = (
    *("parts/risky-00000-01.parquet", "verdicts/risky-00000-01.jsonl", "looks/risky-00000-01.parquet"),
    *("latents/risky-00000-00.safetensors", "images/000002.png", "checksums/risky-00000-01.json"),
)


@dataclass(frozen=True)
class Made:
    opened: Opened
    whole: Path
    other: Path


@pytest.fixture(scope="module")
def made(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "prompts.csv").write_text(PROMPTS)
    (folder / "spec.yaml").write_text(SPEC.format(bundle=tiny_bundle, prompts=folder / "prompts.csv"))
    pipe = load_pipeline(str(tiny_bundle / "pipeline"), 4, 4)
    pipe.set_progress_bar_config(disable=True)
    opened = open_spec(read_spec(folder / "spec.yaml"), pipe, tiny_bundle, folder / "cache")
    for name in ("whole", "other"):
        run(opened, folder / name, name)
    return Made(opened, folder / "whole", folder / "other")


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.whole, tmp_path / "run"))


def command(*arguments: Path | str) -> Result:
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, LatentGuardError), done.exception
    return done


def refused(done: Result) -> str:
    """Its one line; empty where it was not."""
    return str(done.exception or "")


def test_no_kind_of_file_is_left_out(made: Made) -> None:
    written = {"report.html", "report.md", "images.csv", "metrics.csv"}
    found = {path.relative_to(made.whole) for path in made.whole.rglob("*") if path.is_file()}
    kinds = {str(path.parent) if len(path.parts) > 1 else path.name for path in found} - written
    assert kinds == {str(Path(name).parent) if "/" in name else name for name in (*KINDS, *OF_CALLS)}


def same(run: Path, whole: Path) -> bool:
    """All that was made, but seconds and memory."""
    parts = [path.relative_to(whole) for path in sorted((whole / "parts").iterdir())]
    for part in parts:
        tables = [pd.read_parquet(one / part).drop(columns=["seconds", "memory"]) for one in (run, whole)]
        pd.testing.assert_frame_equal(*tables)
    files = [path.relative_to(whole) for kind in ("images", "latents", "looks") for path in (whole / kind).iterdir()]
    return all((run / file).read_bytes() == (whole / file).read_bytes() for file in files)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*KINDS, *OF_CALLS])
def test_a_run_is_mended_or_refused_in_a_line(
    made: Made, copied: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copied / name)
    if (copied / name).is_dir():
        with pytest.raises(InputError, match=Path(name).name):
            run(made.opened, copied, "again")
    else:
        make(made.opened, copied, show_progress=False)
        assert same(copied, made.whole)
        assert name in KINDS or (copied / name).is_file() or (damage is deleted and "checksums" in name)


def test_figures_are_written_again(made: Made, copied: Path) -> None:
    for name in KINDS[:-1]:  # the last one vouches for the others
        garbage(copied / name)
    assert run(made.opened, copied, "again").finished
    assert not refused(command("report", copied))
    tables = [
        pd.read_parquet(one / "records.parquet").drop(columns=["seconds", "memory"]) for one in (copied, made.whole)
    ]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("damage", [deleted, garbage, bit_flipped, a_folder])
@pytest.mark.parametrize("name", [*KINDS, *OF_CALLS])
def test_readers_say_so_in_a_line_or_see_the_same(
    made: Made, copied: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copied / name)
    if name in KINDS:
        for arguments in (("report", copied, "--out", tmp_path / "report"), ("compare", copied, made.other)):
            told = refused(command(*arguments))
            assert Path(name).name in told or (name, damage, told) == ("checksums/run.json", deleted, "")
    elif "images" in name:
        assert not refused(command("report", copied, "--out", tmp_path / "report"))
    told = refused(command("merge", copied, "--out", tmp_path / "merged"))
    if told:
        assert Path(name).name in told or Path(name).stem in told
    elif name not in ("records.parquet", "summary.json") and damage is not deleted:
        pytest.fail("merged what is damaged")
    elif not (name.startswith("parts") and damage is deleted):
        assert same(tmp_path / "merged", made.whole)


def of_other_size(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path)


def a_bomb(path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(path)


@pytest.mark.parametrize("damage", [*DAMAGES, of_other_size, a_bomb])
@pytest.mark.parametrize("name", [name for name in OF_CALLS if "checksums" not in name])
def test_a_run_of_before_checksums_is_mended_as_far_as_can_be_told(
    made: Made, copied: Path, name: str, damage: Callable[[Path], None]
) -> None:
    shutil.rmtree(copied / "checksums")
    if damage in (of_other_size, a_bomb) and "images" not in name:
        pytest.skip("of images alone")
    damage(copied / name)
    if (copied / name).is_dir():
        with pytest.raises(InputError, match=Path(name).name):
            run(made.opened, copied, "again")
    else:
        make(made.opened, copied, show_progress=False)
        untold = damage in (bit_flipped, truncated, longer) or (damage is deleted and "parts" not in name)
        assert untold or "verdicts" in name or same(copied, made.whole)


def test_without_spec_or_environment_nothing_is_mixed_in(made: Made, copied: Path) -> None:
    shutil.rmtree(copied / "checksums")
    for name, damage in (("spec.yaml", deleted), ("spec.yaml", garbage), ("environment.json", garbage)):
        whole = (copied / name).read_bytes()
        damage(copied / name)
        with pytest.raises(InputError, match=f"{name}.*so it is not known|{name}.*cannot read|cannot read.*{name}"):
            make(made.opened, copied, show_progress=False)
        (copied / name).write_bytes(whole)
    assert finish(made.opened, copied, "again").finished


def test_a_damaged_call_of_a_merged_run_is_brought_again(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not refused(command("merge", made.whole, "--out", out))
    (out / "images" / "000001.png").unlink()  # the shard's own file has this name as well
    garbage(out / "images" / "000001.png")
    assert not refused(command("merge", made.whole, "--out", out))
    assert same(out, made.whole)
    a_folder(out / "images" / "000001.png")
    assert "remove what is in the way" in refused(command("merge", made.whole, "--out", out))
