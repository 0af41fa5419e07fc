from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.concepts.bank import ConceptBank
from latent_guard.pipelines.canary import Canary

Command = Callable[..., Any]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,category\na dagger,violence\na skull,shocking\na fork,\n")
    return path


@pytest.fixture
def built(latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, prompts: Path) -> Path:
    done = latent_guard_command(
        "concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", tmp_path / "b"
    )
    assert (done.code, "2 concepts in 2 categories" in done.out) == (0, True)
    return tmp_path / "b"


def test_a_bank_is_built_from_several_sources_and_shown(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, prompts: Path
) -> None:
    out = tmp_path / "bank"
    done = latent_guard_command("concepts", "build", "i2p", prompts, "--model", tiny_bundle / "pipeline", "--out", out)
    assert done.code == 0
    assert "7 categories" in done.out
    shown = latent_guard_command("concepts", "show", out)
    assert shown.code == 0
    for words in ("self-harm", "i2p/hate version 1 (Apache-2.0), 4 templates", "log-sum-exp", "no calibration report"):
        assert words in shown.out


def test_pictures_become_a_concept_named_after_their_folder(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, prompts: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("masks", "everyday"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(rng.integers(256, size=(20, 20, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    common = ("concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", tmp_path / "bank")
    refused = latent_guard_command(*common, "--images", f"shocking={tmp_path / 'masks'}")
    assert (refused.code, "--ordinary-images" in refused.err) == (2, True)
    done = latent_guard_command(
        *common, "--images", f"shocking={tmp_path / 'masks'}", "--ordinary-images", tmp_path / "everyday"
    )
    assert done.code == 0
    bank = ConceptBank.load(tmp_path / "bank")
    assert [(c.prompt, c.category) for c in bank.concepts][-1] == ("pictures of masks", "shocking")


@pytest.fixture
def pictured(tiny_bundle: Path, tmp_path: Path, prompts: Path) -> list[str | Path]:
    """A command that builds a bank with pictures."""
    for name in ("masks", "everyday"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20), "navy").save(tmp_path / name / "a.png")
    common = ["concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", tmp_path / "bank"]
    return [*common, "--images", f"shocking={tmp_path / 'masks'}", "--ordinary-images", tmp_path / "everyday"]


def test_pictures_are_never_read_with_the_vae_of_another_guard(
    latent_guard_command: Command, tiny_bundle: Path, tmp_path: Path, pictured: list[str | Path]
) -> None:
    other = Path(shutil.copytree(tiny_bundle / "guard", tmp_path / "guard"))
    canary = Canary.load(other)
    Canary(canary.picture, canary.latent + 1).save(other)
    done = latent_guard_command(*pictured, "--guard", other)
    assert (done.code, "VAE is not the one" in done.err) == (2, True)
    assert not (tmp_path / "bank").exists()


def test_a_picture_that_moves_is_no_example(
    latent_guard_command: Command, tmp_path: Path, pictured: list[str | Path]
) -> None:
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "masks" / "two.jpg", "MPO", save_all=True, append_images=[blue])  # as cameras do
    assert latent_guard_command(*pictured).code == 0
    red.save(tmp_path / "masks" / "moving.gif", save_all=True, append_images=[blue])
    done = latent_guard_command(*pictured)
    assert (done.code, "moving.gif: it has 2 frames" in done.err) == (2, True)


def test_diff_says_what_changed_and_nothing_of_banks_alike(
    latent_guard_command: Command, tiny_bundle: Path, built: Path, prompts: Path, tmp_path: Path
) -> None:
    assert latent_guard_command("concepts", "diff", built, built).out == ""
    prompts.write_text("prompt,category\na dagger,violence\nan axe,violence\na fork,\na spoon,\n")
    other = tmp_path / "other"
    latent_guard_command("concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", other)
    lines = latent_guard_command("concepts", "diff", built, other).out.splitlines()
    assert lines[:3] == ["- shocking: a skull", "+ violence: an axe", "+ benign: a spoon"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("build", "absent.csv", "--out", "bank"), "absent.csv"),
        (("build", "nonesuch", "--out", "bank"), "does not ship"),
        (("show", "nowhere"), "nowhere"),
        (("diff", "nowhere", "nowhere"), "nowhere"),
        (("calibrate", "nowhere", "--model", "x/y"), "--benign"),
        (("calibrate", "nowhere", "--record", "seen.txt"), ".safetensors"),
        (("test", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    latent_guard_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = latent_guard_command("concepts", *arguments)
    assert done.code == 2
    assert named in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
