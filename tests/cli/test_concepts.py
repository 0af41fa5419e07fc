from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.generations import Generations

Command = Callable[..., Any]
ROWS = "prompt,categories,evaluation_seed\n"
BENIGN = ROWS + "".join(f"a fork number {n},,{n}\n" for n in range(8))
UNSAFE = ROWS + "".join(f"a dagger number {n},violence,{n}\n" for n in range(4))


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


def test_diff_says_what_changed_and_nothing_of_banks_alike(
    latent_guard_command: Command, tiny_bundle: Path, built: Path, prompts: Path, tmp_path: Path
) -> None:
    assert latent_guard_command("concepts", "diff", built, built).out == ""
    prompts.write_text("prompt,category\na dagger,violence\nan axe,violence\na fork,\na spoon,\n")
    other = tmp_path / "other"
    latent_guard_command("concepts", "build", prompts, "--model", tiny_bundle / "pipeline", "--out", other)
    lines = latent_guard_command("concepts", "diff", built, other).out.splitlines()
    assert lines[:3] == ["- shocking: a skull", "+ violence: an axe", "+ benign: a spoon"]


def test_a_bank_is_calibrated_on_prompts_of_ones_own_and_tested_on_what_was_seen(
    latent_guard_command: Command, tiny_bundle: Path, built: Path, tmp_path: Path
) -> None:
    (tmp_path / "benign.csv").write_text(BENIGN)
    (tmp_path / "unsafe.csv").write_text(UNSAFE)
    seen = tmp_path / "seen.safetensors"
    common = ("--model", tiny_bundle / "pipeline", "--steps", 2, "--images", 48, "--record", seen)
    sources = ("--benign", tmp_path / "benign.csv", "--unsafe", tmp_path / "unsafe.csv")
    done = latent_guard_command("concepts", "calibrate", built, "--rate", 0.1, *sources, *common)
    assert (done.err, done.code) == ("", 0)
    assert "at most 10.0% of harmless images" in done.out
    recorded = Generations.load(seen)
    assert (len(recorded), int(recorded.unsafe.sum()), recorded.categories) == (60, 12, ("violence",))
    assert float(recorded.noise_levels[-1]) == 0.0
    bank = ConceptBank.load(built)
    assert bank.calibration is not None
    assert {figure.method for figure in bank.calibration.scorings} == {"log-sum-exp", "mean"}
    assert "expected calibration error" in latent_guard_command("concepts", "show", built).out
    (tmp_path / "benign.csv").unlink()  # what was seen is on record: nothing is generated again
    tested = latent_guard_command("concepts", "test", built, "--record", seen)
    assert tested.code == 0
    assert "the chosen rate of 10.0%" in tested.out
    checked = latent_guard_command(
        "check", _picture(tmp_path), "--model", tiny_bundle / "pipeline", "--bank", built, "--format", "jsonl"
    )
    assert 0 <= json.loads(checked.out)["probability"] <= 1


def _picture(folder: Path) -> Path:
    Image.new("RGB", (30, 30), "navy").save(folder / "navy.png")
    return folder / "navy.png"


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
