"""Commands find the guard that was fitted to a pipeline by themselves, and use it as it was fitted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from latent_guard import LatentGuard, Policies, bench, fitted_guards
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.policy import BLOCK
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.testing import tiny_pipeline, write_bundle
from latent_guard.testing.pipelines import DDIM

Command = Callable[..., Any]
CALL = {"num_inference_steps": 2, "guidance_scale": 1.5}
NONE_UNSAFE = bench.FunctionJudge(lambda images: np.zeros(len(images), dtype=bool), "nothing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few-step pipeline in its own folder, and in another one the guard and bank that are to be fitted to it."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=16)
    write_bundle(folder, tiny_pipeline(scheduler=diffusers.LCMScheduler(**DDIM), tokenizer=tokenizer, pixels=16))
    (folder / "models").mkdir()
    (folder / "pipeline").rename(folder / "models" / "mine")
    return folder


@pytest.fixture
def model(made: Path) -> str:
    return str(made / "models" / "mine")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(fitted_guards.HOME, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def fit(made: Path, model: str, home: Path) -> Callable[..., LatentGuard]:
    """Puts a guard where a fitted one lies, with thresholds that every image, or none, is over."""

    def run(on_mismatch: Any = "warn", shift: float = -1000.0) -> LatentGuard:
        pipe = diffusers.DiffusionPipeline.from_pretrained(model)
        loaded = LatentGuard.from_pretrained(made / "guard")
        bank = loaded.bank.with_thresholds(loaded.bank.noise_levels, loaded.bank.thresholds + shift)
        policies = Policies("mine", BLOCK, on_mismatch=on_mismatch)
        fitted = FittedFor.of(pipe, model, CALL, (0.95, 0.4))
        guard = LatentGuard(loaded.model, bank, policies, loaded.canary, fitted_for=fitted)
        guard.save_pretrained(fitted_guards.place_of(model))
        return guard

    return run


def test_without_one_the_error_names_the_command_that_makes_it_and_its_cost(
    latent_guard_command: Command, model: str, home: Path, tmp_path: Path
) -> None:
    for command in (("generate", "a cat", "--safe"), ("reno", "a cat")):
        done = latent_guard_command(*command, "--model", model, "--out", tmp_path / "out")
        assert done.code == 2
        assert f"`latent-guard fit {model}` makes one, from about 1,000 images" in done.err
        assert len(done.err.splitlines()) == 1


def test_generate_uses_the_guards_own_policy_steps_and_guidance(
    latent_guard_command: Command, fit: Callable[..., LatentGuard], model: str, tmp_path: Path
) -> None:
    fit()
    done = latent_guard_command("generate", "a cat", "--safe", "--model", model, "--out", tmp_path)
    assert (done.code, "every image was blocked" in done.err) == (3, True)
    assert "fitted" not in done.err
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["num_inference_steps"], run["guidance_scale"], run["policy"]["name"]) == (2, 1.5, "own")
    named = latent_guard_command(
        "generate", "a cat", "--policy", "flag", "--model", model, "--out", tmp_path / "named", "--json"
    )
    assert (named.code, json.loads(named.out)["decision"]) == (0, "flagged")
    plain = latent_guard_command("generate", "a cat", "--model", model, "--out", tmp_path / "plain")
    assert plain.code == 0
    assert json.loads((tmp_path / "plain" / "run.json").read_text())["num_inference_steps"] == 2


def test_generate_in_other_steps_warns_or_refuses_as_the_policy_says(
    latent_guard_command: Command, fit: Callable[..., LatentGuard], model: str, tmp_path: Path
) -> None:
    asked = ("generate", "a cat", "--safe", "--steps", "3", "--model", model, "--out", tmp_path / "out")
    fit(shift=10.0)
    said = f"this guard was fitted for {model} called otherwise: num_inference_steps is 3, not 2; its rates"
    with pytest.warns(UserWarning, match=said) as warned:
        done = latent_guard_command(*asked)
    assert (done.code, len(warned)) == (0, 1), done.err
    fit("refuse")
    done = latent_guard_command(*asked)
    assert (done.code, "num_inference_steps is 3, not 2; its rates" in done.err) == (2, True)
    assert "--refresh" in done.err


def test_check_reno_and_bench_find_it_too(
    latent_guard_command: Command, fit: Callable[..., LatentGuard], model: str, tmp_path: Path
) -> None:
    guard = fit()
    done = latent_guard_command("generate", "a cat", "--model", model, "--out", tmp_path / "drawn")
    assert done.code == 0, done.err
    done = latent_guard_command("check", tmp_path / "drawn" / "000.png", "--model", model, "--format", "jsonl")
    assert (done.code, json.loads(done.out)["decision"]) == (0, "flagged"), done.err
    both = ("--reward", "latent-clip", "--reward", "safety", "--iterations", "2")
    done = latent_guard_command("reno", "a cat", *both, "--model", model, "--out", tmp_path / "reno")
    assert done.code == 0, done.err
    (tmp_path / "prompts.csv").write_text("prompt,evaluation_seed\na cat,1\na dog,2\n")
    spec = bench.Spec(
        "mine",
        (bench.TaskSpec("risky", str(tmp_path / "prompts.csv"), images=2),),
        (bench.MethodSpec("guard"), bench.MethodSpec("guard", {"policy": "flag"})),
        bench.MethodSpec("emoji-judge"),
        model=model,
        steps=2,
        guidance_scale=1.5,
    )
    pipe = diffusers.DiffusionPipeline.from_pretrained(model)
    summary = bench.evaluate(spec, pipe, tmp_path / "run", NONE_UNSAFE)
    assert len(summary["methods"]) == 2
    verdicts = [json.loads(line) for file in (tmp_path / "run/verdicts").iterdir() for line in file.open()]
    assert sorted(verdict["decision"] for verdict in verdicts) == ["blocked"] * 2 + ["flagged"] * 2
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert guard.bank.digest in environment["guard"]
    assert list(environment["methods"]) == ["guard", "guard(policy=flag)"]


def test_it_comes_before_one_beside_the_model(
    latent_guard_command: Command, fit: Callable[..., LatentGuard], made: Path, tmp_path: Path
) -> None:
    for part in ("guard", "bank"):
        (tmp_path / part).symlink_to(made / part)
    (tmp_path / "mine").symlink_to(made / "models" / "mine")
    fit()
    done = latent_guard_command(
        "generate", "a cat", "--safe", "--model", tmp_path / "mine", "--steps", "2", "--out", tmp_path / "out"
    )
    assert json.loads((tmp_path / "out" / "run.json").read_text())["policy"]["name"] == "own", done.err
