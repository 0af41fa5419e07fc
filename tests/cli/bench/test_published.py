"""`latent-guard bench i2p|geneval|t2i-compbench` as a user meets them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Command = Callable[..., Any]
I2P = Path(__file__).parents[4] / "shared" / "data" / "i2p.csv"
UNGUARDED = ("--method", "unguarded", "--steps", 1)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Prompts that are not the world's, in I2P's other column naming."""
    path = tmp_path / "theirs.csv"
    path.write_text("prompt,categories,sd_seed,sd_guidance_scale\na portrait,hate,7,3\na crowd,hate,8,2\n")
    return path


def test_the_worlds_prompts_give_figures_by_category_and_method_and_published_ones_apart(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    out, arguments = tmp_path / "run", ("bench", "i2p", "--prompts", "emoji-i2p.csv", "--limit", 2, "--images", 1)
    both = ("--method", "unguarded", "--method", "guard:policy=flag,trigger=-0.5")
    done = latent_guard_command(*arguments, "--steps", 2, *both, "--out", out)
    assert done.code == 0
    measured, published = done.out.split("Published by others")
    assert "OUT OF DOMAIN" not in done.out
    assert "shocking" in measured
    assert "needs 25 prompts" in measured
    assert "SLD Max" in published
    assert "SLD" not in measured
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["i2p"]["tasks"]["i2p"]["methods"]) == ["unguarded", "guard(policy=flag, trigger=-0.5)"]
    page = (out / "report.md").read_text()
    assert "## Published by others" in page
    assert page.index("## I2P") < page.index("## Published by others")
    again = latent_guard_command(*arguments, "--steps", 2, *both, "--out", out)
    assert again.code == 0
    assert latent_guard_command(*arguments, "--steps", 3, *both, "--out", out).code == 2


def test_real_prompts_on_the_shipped_model_are_stamped(
    latent_guard_command: Command, theirs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = latent_guard_command("bench", "i2p", "--prompts", theirs, "--images", 1, *UNGUARDED, "--out", out)
    assert done.code == 0
    assert "OUT OF DOMAIN" in done.out.split("measured here")[0]
    for name in ("summary.json", "environment.json"):
        assert json.loads((out / name).read_text())["out_of_domain"].startswith("OUT OF DOMAIN")
    assert "OUT OF DOMAIN" in (out / "report.md").read_text().split("##")[0]
    assert "OUT OF DOMAIN" in (out / "report.html").read_text().split("<main>")[0].split("<h1>")[1]


@pytest.mark.slow
@pytest.mark.skipif(not I2P.is_file(), reason="I2P's list is not part of the project")
def test_i2p_itself_runs_from_end_to_end(latent_guard_command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = latent_guard_command("bench", "i2p", "--prompts", I2P, "--limit", 3, "--images", 2, "--out", out)
    assert done.code == 0
    assert len(pd.read_parquet(out / "records.parquet")) == 2 * 3 * 2
    assert "OUT OF DOMAIN" in done.out


def test_a_dry_run_says_what_the_quick_sample_comes_to_and_makes_nothing(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = latent_guard_command("bench", "i2p", "--prompts", "emoji-i2p.csv", "--quick", "--dry-run", "--out", out)
    assert done.code == 0
    assert "1000 images of 100 prompts, by each of 2" in done.out
    assert "2000 images in 400 calls of 20 steps" in done.out
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--judge", "q16"), "name its prompt file"),
        (("--judge", "q16+nudenet", "--judge-option", "prompts=absent.p"), "absent.p"),
        (("--judge", "safety-checker", "--judge-option", "model=/absent"), "/absent"),
        (("--judge", "nudenet", "--judge-option", "threshold=0.1"), "threshold 0.1"),
        (("--judge", "open-nsfw", "--judge-option", "threshold=80"), "at most 1, not 80"),
        (("--judge-option", "folder"), "'folder' is not key=value"),
        (("--mode", "both"), "mode must be paper or repo"),
        (("--split", "toxic"), "needs the list's column 'prompt_toxicity'"),
        (("--method", "hope"), "unknown method 'hope'"),
        (("--method", "sld:strength=3"), "unknown setting 'strength'"),
        (("--method", "unguarded", "--method", "unguarded"), "there twice"),
        (("--prompts", "absent.csv"), "absent.csv"),
        (("--model", "somebody/else"), "--judge"),
    ],
)
def test_what_is_absent_or_wrong_is_said_before_anything_is_made(
    latent_guard_command: Command, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    out = tmp_path / "run"
    done = latent_guard_command("bench", "i2p", "--prompts", "emoji-i2p.csv", *arguments, "--out", out)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert complaint in errors[0]
    assert "Traceback" not in done.err
    assert not out.exists()


def test_ones_own_pipeline_is_judged_by_nudenet(
    latent_guard_command: Command, tiny_bundle: Path, theirs: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nudenet")
    out = tmp_path / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of its licence
        done = latent_guard_command(
            "bench", "i2p", "--prompts", theirs, "--images", 1, "--steps", 2, "--model", tiny_bundle / "pipeline",
            "--judge", "nudenet", "--judge-option", "rule=concept-steerers", "--mode", "repo", "--out", out,
        )  # fmt: skip
    assert done.code == 0
    assert "OUT OF DOMAIN" not in done.out
    environment = json.loads((out / "environment.json").read_text())
    assert "NudeNet 3." in environment["judge"]
    assert "0.45" in environment["judge"]
    assert not pd.read_parquet(out / "records.parquet")["unsafe"].any()


@pytest.mark.parametrize("command", ["geneval", "t2i-compbench"])
def test_images_are_laid_out_for_the_official_evaluators(
    latent_guard_command: Command, tmp_path: Path, command: str
) -> None:
    lists = {"geneval": tmp_path / "metadata.jsonl", "t2i-compbench": tmp_path / "color_val.txt"}
    lists["geneval"].write_text(
        '{"tag": "counting", "include": [{"class": "cow", "count": 2}], "prompt": "two cows"}\n'
    )
    lists["t2i-compbench"].write_text("a green bench\n")
    out = tmp_path / "run"
    done = latent_guard_command("bench", command, lists[command], *UNGUARDED, "--images", 2, "--out", out)
    assert done.code == 0
    pictures = sorted(path.relative_to(out / "official").as_posix() for path in (out / "official").rglob("*.png"))
    assert (
        pictures
        == {
            "geneval": [f"geneval/00-unguarded/00000/samples/000{n}.png" for n in range(2)],
            "t2i-compbench": [f"color/00-unguarded/color/samples/a green bench_00000{n}.png" for n in range(2)],
        }[command]
    )
    assert "00-unguarded" in done.out
