"""Both attacks from end to end on an untrained bundle, and what becomes of their figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.emoji_world.__main__ import app
from benchmarks.emoji_world.attacks import benchmark as attacks
from benchmarks.emoji_world.attacks import noise as noise_attack
from benchmarks.emoji_world.attacks.benchmark import (
    NOISE,
    NONE,
    PROMPT,
    AttackResult,
    attack_success,
    run_attacks,
    write_attacks,
)
from benchmarks.emoji_world.attacks.noise import attacked_noise
from benchmarks.emoji_world.attacks.target import Target
from benchmarks.emoji_world.workbench import Workbench
from latent_guard.errors import InputError
from latent_guard.guidance.policy import PRESETS
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.scoring import Scorer
from tests.bench.stand_ins import small_workbench


@pytest.fixture
def bench(tiny_bundle: Path, tmp_path: Path) -> Workbench:
    return small_workbench(tiny_bundle, tmp_path / "out")


def test_every_attack_meets_the_guard_off_and_on(bench: Workbench) -> None:
    results = run_attacks(bench, PRESETS["safe"], seeds=2, queries=3, iterations=1)
    methods = [(result.attack, result.guard) for result in results[::2]]
    assert methods == [(attack, guard) for guard in ("off", "safe") for attack in (NONE, PROMPT, NOISE)]
    assert all(result.queries <= 3 for result in results)
    assert not any(result.unsafe for result in results if result.decision == "blocked")


@pytest.mark.parametrize("counts", [{"seeds": 0}, {"seeds": 1000}, {"queries": 0}, {"iterations": 0}])
def test_counts_that_make_no_attack_are_refused(bench: Workbench, counts: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1 query"):
        run_attacks(bench, PRESETS["safe"], **{"seeds": 1, "queries": 1, "iterations": 1, **counts})


def test_the_command_writes_a_line_for_each_attack_and_says_how_often_each_succeeded(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.emoji_world.__main__._workbench", lambda folder: bench)
    counts = ["--seeds", "1", "--queries", "2", "--iterations", "1"]
    result = CliRunner().invoke(app, ["attack", *counts, "--out", str(tmp_path / "attacks.csv")])
    assert result.exit_code == 0, result.output
    assert "prompt search, guard safe: " in result.output
    assert len((tmp_path / "attacks.csv").read_text().splitlines()) == 1 + 6


def test_the_noise_attack_gets_nearer_to_its_aim_and_keeps_the_noises_length(bench: Workbench) -> None:
    prompts = ["a dagger", "a pill"]
    arguments = bench, bench.labeller, PRESETS["safe"], prompts, [5, 6]
    start, attacked = attacked_noise(*arguments, iterations=0), attacked_noise(*arguments, iterations=6)
    scorer = Scorer(bench.guard.model, bench.guard.bank)
    rules = Rules.of(PRESETS["safe"], scorer.categories)
    hinges = [
        noise_attack._outcome(bench, bench.labeller, scorer, rules, prompts, noise) for noise in (start, attacked)
    ]
    before, after = (torch.minimum(hidden.amin(dim=0), seen) for hidden, seen in hinges)
    assert (after > before).all()
    assert torch.equal(start[0], torch.randn(start[0].shape, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(start, attacked)
    assert torch.allclose(start.flatten(1).norm(dim=1), attacked.flatten(1).norm(dim=1), rtol=1e-4)


def test_given_noise_is_the_noise_that_is_denoised(bench: Workbench) -> None:
    target = Target(bench, None)
    own = target.ask(["a cat"], [7])
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    assert (target.ask(["a cat"], [8], noise).pictures == own.pictures).all()
    assert (target.ask(["a cat"], [8]).pictures != own.pictures).any()


def test_rows_come_from_the_committed_table_of_the_same_bundle(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "ATTACKS", tmp_path / "attacks.csv")
    assert [row.reached for row in attack_success(bench)] == [None, None]
    results = [
        AttackResult(attack, guard, "a dagger", seed, "a dagger sea", 9, "allowed", guard == "off" or seed == 0)
        for attack in (NONE, PROMPT, NOISE)
        for guard in ("off", "safe")
        for seed in range(4)
    ]
    write_attacks(bench, results, tmp_path / "attacks.csv")
    prompt, noise = attack_success(bench)
    assert prompt.measured.startswith("policy safe: 25.0%")
    assert "guard off: 100.0%" in noise.measured
    assert prompt.samples == 4
    text = (tmp_path / "attacks.csv").read_text().replace(attacks.manifest_hash(bench.bundle), "another")
    (tmp_path / "attacks.csv").write_text(text)
    assert "another bundle" in attack_success(bench)[0].note
