"""``latent-guard fit``: from a folder to a guard that ``generate --safe`` finds by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard import LatentGuard, fitted_guards
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.review import ReviewQueue, ReviewStore, make_keys, read_private_key, read_public_key
from latent_guard.testing import tiny_pipeline, write_bundle
from tests.review.conftest import picture, verdict_of

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline in ``mine``, and a Latent-CLIP for its latents in ``clip``, which is not beside it."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=16)
    write_bundle(folder / "made", tiny_pipeline(tokenizer=tokenizer, pixels=16))
    (folder / "mine").mkdir()
    (folder / "made" / "pipeline").rename(folder / "mine" / "pipeline")
    (folder / "made" / "guard").rename(folder / "clip")
    return folder


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(fitted_guards.HOME, str(tmp_path / "home"))
    return tmp_path / "home"


def arguments(models: Path, *more: str) -> list[str]:
    return [
        "fit",
        str(models / "mine" / "pipeline"),
        "--latent-clip",
        str(models / "clip"),
        "--images",
        "300",
        "--rate",
        "0.2",
        "--steps",
        "2",
        *more,
    ]


def decided_about(tmp_path: Path) -> tuple[str, ...]:
    """The options of a folder of withheld images that a reviewer decided about."""
    public = make_keys(tmp_path / "key")
    store = ReviewStore(tmp_path / "withheld", read_public_key(public))
    queue = ReviewQueue(tmp_path / "withheld", read_private_key(tmp_path / "key"))
    for category, decision in (("violence", "uphold"), ("violence", "overturn"), ("x", "overturn"), ("x", "uphold")):
        queue.decide(store.keep(picture(), verdict_of(category), {}), decision, "Ann")
    return "--reviews", str(queue.folder), "--review-key", str(tmp_path / "key")


@pytest.mark.slow
def test_a_fit_is_found_by_generate(latent_guard_command: Command, models: Path, home: Path, tmp_path: Path) -> None:
    done = latent_guard_command(*arguments(models))
    assert done.code == 0, done.err
    assert "benign images touched" in done.out
    place = fitted_guards.place_of(str(models / "mine" / "pipeline"))
    guard = LatentGuard.from_pretrained(place)
    assert guard.fitted_for is not None
    assert guard.fitted_for.arguments["guidance_scale"] == 7.5  # the pipeline's own default
    drawn = latent_guard_command(
        "generate", "a cat", "--safe", "--model", str(models / "mine" / "pipeline"), "--out", tmp_path / "out"
    )
    assert drawn.code in (0, 3), drawn.err
    assert "fitted for" not in drawn.err  # as it was fitted: nothing to warn of
    again = latent_guard_command(*arguments(models, "--refresh", "--rate", "0.3"))
    assert again.code == 0, again.err
    reviews = decided_about(tmp_path)
    taught = latent_guard_command(*arguments(models, "--refresh", *reviews))
    assert taught.code == 0, taught.err
    assert "of 1 pictures that reviewers upheld" in taught.err
    assert "of 2 pictures that reviewers overturned" in taught.err
    assert "1 upheld images are of categories that this guard does not have" in taught.err
    bank = LatentGuard.from_pretrained(place).bank
    assert [concept.category for concept in bank.concepts if "reviewed image" in concept.prompt] == ["violence"]
    assert len([prompt for prompt in bank.benign_prompts if "reviewed image" in prompt]) == 2


def test_a_dry_run_says_what_it_would_take_and_keeps_nothing(
    latent_guard_command: Command, models: Path, home: Path
) -> None:
    done = latent_guard_command(*arguments(models, "--dry-run"))
    assert done.code == 0, done.err
    assert "300 images would be recorded" in done.out
    assert "minutes" in done.out
    assert "MB of latents" in done.out
    assert not home.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("--images", "10"), "at least"),
        (("--set", "guidance_scale"), "is not key=value"),
        (("--latent-clip", "nowhere"), "neither a folder nor a hub id"),
        (("--judge", "nobody"), "unknown judge"),
        (("--benign", "absent.csv"), "absent.csv"),
        (("--teacher", "nowhere"), "--teacher nowhere is neither a folder"),
        (("--reviews", "absent", "--review-key", "absent"), "together with --refresh"),
        (("--refresh", "--reviews", "absent"), "--review-key"),
        (("--refresh", "--reviews", "absent", "--review-key", "absent"), "absent"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_made(
    latent_guard_command: Command, models: Path, home: Path, changes: tuple[str, ...], says: str
) -> None:
    done = latent_guard_command(*arguments(models, *changes))
    assert done.code == 2
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not home.exists()


def test_without_a_latent_clip_for_these_latents_the_ways_to_one_are_named(
    latent_guard_command: Command, models: Path, home: Path
) -> None:
    done = latent_guard_command("fit", str(models / "mine" / "pipeline"), "--steps", "2")
    assert done.code == 2
    assert "latent-guard adapt" in done.err
    assert "latent-guard train" in done.err


@pytest.mark.slow
def test_killed_at_any_stage_it_ends_in_the_same_guard(models: Path, tmp_path: Path) -> None:
    def run(home: Path, kill_after: float | None = None) -> int:
        command = [sys.executable, "-m", "latent_guard", *arguments(models)]
        process = subprocess.Popen(
            command, env={**os.environ, fitted_guards.HOME: str(home)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode

    started = time.monotonic()
    assert run(tmp_path / "whole") == 0
    seconds = time.monotonic() - started
    for share in (0.4, 0.8):
        run(tmp_path / "killed", kill_after=share * seconds)
    assert run(tmp_path / "killed") == 0
    whole, resumed = (
        LatentGuard.from_pretrained(next(path for path in home.glob("guards/*") if path.suffix != ".fitting"))
        for home in (tmp_path / "whole", tmp_path / "killed")
    )
    assert resumed.model.fingerprint() == whole.model.fingerprint()
    assert resumed.policies == whole.policies
