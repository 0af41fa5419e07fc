from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.verdict import Decision, Verdict

Command = Callable[..., Any]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def blocking_bundle(bundle: Path) -> Path:
    """A bundle whose thresholds no image stays under."""
    bank = ConceptBank.load(bundle / "bank")
    bank.with_thresholds(bank.noise_levels, bank.thresholds - 1e3).save(bundle / "bank")
    return bundle


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_safe_writes_an_image_and_a_verdict_each(latent_guard_command: Command, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = latent_guard_command(
        "generate", "a cat", "--safe", "--num-images", 2, "--steps", 3, "--model", bundle / "pipeline", "--out", out
    )
    assert done.code in (0, 3)
    assert sorted(path.name for path in out.iterdir()) == ["000.json", "000.png", "001.json", "001.png", "run.json"]
    assert pixels(out / "000.png").shape == (16, 16, 3)
    assert Verdict.from_json((out / "001.json").read_text()).image == 1
    assert "violence" in done.out


def test_json_prints_one_verdict_a_line_and_nothing_else_on_stdout(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    done = latent_guard_command(
        "generate", "a cat", "--policy", "flag", "--json", "--num-images", 2, "--steps", 2,
        "--model", bundle / "pipeline", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0
    assert [json.loads(line)["image"] for line in done.out.splitlines()] == [0, 1]
    assert "decision" in done.err


def test_compare_adds_the_unguarded_image_of_the_same_seed(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    common = ("generate", "a cat", "--steps", 2, "--model", bundle / "pipeline")
    plain, compared = tmp_path / "plain", tmp_path / "compared"
    done = latent_guard_command(*common, "--seed", 5, "--out", plain)
    assert (done.code, "--safe" in done.err) == (0, True)
    assert sorted(path.name for path in plain.iterdir()) == ["000.png", "run.json"]
    assert json.loads((plain / "run.json").read_text())["seed"] == 5
    done = latent_guard_command(
        *common, "--seed", 4, "--num-images", 2, "--policy", "flag", "--compare", "--out", compared
    )
    assert done.code == 0
    assert np.array_equal(pixels(compared / "001-unguarded.png"), pixels(plain / "000.png"))
    assert np.array_equal(pixels(compared / "001-unguarded.png"), pixels(compared / "001.png"))
    assert pixels(compared / "compare.png").shape[2] == 3


def test_nothing_of_an_earlier_run_lies_beside_a_new_one(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    common = ("generate", "a cat", "--steps", 2, "--model", bundle / "pipeline", "--out", out)
    guarded = ("--policy", "flag", "--num-images", 3, "--compare")
    assert latent_guard_command(*common, *guarded).code == 0
    for name in ("0001.png", "099.json", "my-000.png", "000.txt", "000.json.bak"):
        (out / name).write_text("somebody's own")
    kept = {"0001.png", "099.json", "my-000.png", "000.txt", "000.json.bak"}
    assert latent_guard_command(*common, "--num-images", 2).code == 0
    assert {path.name for path in out.iterdir()} == {"000.png", "001.png", "run.json"} | kept
    assert latent_guard_command(*common, *guarded).code == 0
    assert latent_guard_command(*common, "--policy", "flag").code == 0
    assert {path.name for path in out.iterdir()} == {"000.png", "000.json", "run.json"} | kept


def test_a_folder_that_holds_no_run_loses_nothing_but_the_new_numbers(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("000.json", "001.json", "compare.png"):
        (out / name).write_text("somebody's own")
    command = ("generate", "a cat", "--steps", 2, "--model", bundle / "pipeline", "--out", out)
    assert latent_guard_command(*command).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["000.png", "001.json", "compare.png", "run.json"]


def test_exit_code_3_says_that_every_image_was_blocked(
    latent_guard_command: Command, blocking_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = latent_guard_command(
        "generate", "a cat", "--policy", "block", "--steps", 2, "--model", blocking_bundle / "pipeline", "--out", out
    )
    assert done.code == 3
    assert "blocked" in done.err
    assert Verdict.from_json((out / "000.json").read_text()).decision is Decision.BLOCKED
    assert np.ptp(pixels(out / "000.png").reshape(-1, 3).mean(axis=1)) < 128  # a neutral picture stands in its place


def test_an_overlong_prompt_is_cut_with_a_warning_that_quotes_it(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="cat a cat"):
        done = latent_guard_command(
            "generate", "a cat " * 20, "--policy", "flag", "--steps", 2,
            "--model", bundle / "pipeline", "--out", tmp_path / "out",
        )  # fmt: skip
    assert done.code == 0
    assert Verdict.from_json((tmp_path / "out" / "000.json").read_text()).prompt_words_dropped > 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["", "--safe"], "prompt"),
        ([" \n"], "prompt"),
        (["a\udcff cat", "--safe"], "prompt"),
        (["a cat", "--seed", "-1"], "--seed"),
        (["a cat", "--seed", str(2**64)], "--seed"),
        (["a cat", "--num-images", "0"], "--num-images"),
        (["a cat", "--steps", "0"], "--steps"),
        (["a cat", "--model", "no such model"], "no such model"),
        (["a cat", "--model", "/nonesuch/folder"], "/nonesuch/folder"),
        (["a cat", "--compare"], "--safe"),
        (["a cat", "--json"], "--safe"),
        (["a cat", "--out", "/dev/null/out"], "/dev/null/out"),
        (["a cat", "--out", "/proc/out"], "/proc/out"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2_and_writes_nothing(
    latent_guard_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = latent_guard_command("generate", *arguments)
    assert_refused(done, named)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json", "model_index.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_pipeline_is_refused(
    latent_guard_command: Command, bundle: Path, tmp_path: Path, name: str, damage: str
) -> None:
    path = bundle / "pipeline" / name
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    done = latent_guard_command("generate", "a cat", "--model", bundle / "pipeline", "--out", tmp_path / "out")
    assert_refused(done, str(bundle / "pipeline"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "mend"), [("guard", "--guard"), ("bank", "--bank")])
def test_a_model_without_guard_or_bank_beside_it_is_refused_with_how_to_get_one(
    latent_guard_command: Command, bundle: Path, tmp_path: Path, kind: str, mend: str
) -> None:
    shutil.rmtree(bundle / kind)
    done = latent_guard_command(
        "generate", "a cat", "--safe", "--model", bundle / "pipeline", "--out", tmp_path / "out"
    )
    assert_refused(done, mend)


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "a cat", "--safe"), ("check", "{picture}"), ("concepts", "build", "{prompts}", "--out", "bank"),
        ("generate", "a cat", "--policy", "block"), ("reno", "a cat"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_there_is_named_before_guards_and_banks(
    latent_guard_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "p.csv").write_text("prompt,category\na dagger,violence\na fork,\n")
    places = {"picture": tmp_path / "x.png", "prompts": tmp_path / "prompts" / "p.csv"}
    done = latent_guard_command(*(part.format(**places) for part in command), "--model", "nope")
    assert_refused(done, "--model nope is neither a folder nor a hub id")


def test_a_truncated_guard_or_a_bank_of_another_model_is_refused(
    latent_guard_command: Command, bundle: Path, tmp_path: Path
) -> None:
    common = ("generate", "a cat", "--safe", "--model", bundle / "pipeline", "--out", tmp_path / "out")
    bank = ConceptBank.load(bundle / "bank")
    replace(bank, fingerprint="another").save(bundle / "bank")
    assert_refused(latent_guard_command(*common), "another")
    bank.save(bundle / "bank")
    weights = bundle / "guard" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: math.ceil(weights.stat().st_size / 2)])
    assert_refused(latent_guard_command(*common), "model.safetensors")
    assert not (tmp_path / "out").exists()


def assert_refused(done: Any, named: str) -> None:
    assert done.code == 2
    assert done.out == ""
    lines = done.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert named in lines[0]
