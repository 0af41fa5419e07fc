"""The cost of noise optimisation in miniature: what is counted, and that everything runs."""

from __future__ import annotations

import argparse
import csv
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def reno_cost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not (BENCHMARKS / "reno_cost.py").exists():
        pytest.skip("the benchmarks lie beside the package in its repository only")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("reno_cost")


@pytest.mark.slow
def test_every_reward_is_counted_and_the_world_s_own_are_timed(reno_cost: ModuleType, tmp_path: Path) -> None:
    reno_cost.main(["--miniature", "--runs", "3", "--budget", "1", "--iterations", "4", "--out", str(tmp_path)])
    made = json.loads((tmp_path / "reno_cost.json").read_text())
    counted = {line["reward"]: line for line in made["lines"] if line["device"] == "counted"}
    assert list(counted) == [
        "Latent-ViT B/8",
        "Latent-ViT B/4-plus",
        "pixel CLIP B/32",
        "pixel CLIP B/16",
        "pixel CLIP H/14",
    ]
    latent, pixel = counted["Latent-ViT B/8"], counted["pixel CLIP B/32"]
    assert 0 < latent["iteration_gflop"] < pixel["iteration_gflop"]
    assert 0 < latent["kept_gib"] < pixel["kept_gib"]
    timed = {line["reward"]: line for line in made["lines"] if line["model"] == "Emoji World"}
    assert set(timed) == {"latent-clip", "pixel-clip"}
    assert all(line["run_s"] > 0 for line in timed.values())
    on_gpu = [None, None] if not importlib.import_module("torch").cuda.is_available() else [True, True]
    assert [row["reached"] for row in made["rows"]][:4] == [True, True, *on_gpu]
    assert made["rows"][-1]["what"].startswith("Emoji World")
    with open(tmp_path / "reno_cost.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(made["lines"])


def test_the_pipeline_draws_one_row_an_iteration(reno_cost: ModuleType) -> None:
    """As SDXL-Turbo is sampled: guidance would double the denoiser's work."""
    torch, name = importlib.import_module("torch"), "Latent-ViT B/8"
    parts, rows = importlib.import_module("reno_parts").RenoParts("cpu", torch.float32, True), list[int]()
    parts.unet.register_forward_pre_hook(lambda _module, inputs: rows.append(len(inputs[0])))
    options = argparse.Namespace(runs=1, budget=0.0, iterations=4)
    timed = reno_cost.timed(parts.pipe, {name: parts.reward(name)}, options, **reno_cost.turbo(parts))
    assert set(rows) == {1}
    assert timed[name].median > 0


@pytest.mark.slow
def test_without_the_decoder_most_of_the_arithmetic_is_gone(reno_cost: ModuleType) -> None:
    """At full size, on the meta device: the forward and backward pass of denoiser and tower alone."""
    parts = importlib.import_module("reno_parts").RenoParts("meta", importlib.import_module("torch").bfloat16, False)
    latent, pixel = parts.count("Latent-ViT B/8"), parts.count("pixel CLIP B/32")
    assert 1 - latent.gflop / pixel.gflop == pytest.approx(0.61, abs=0.01)
    assert latent.gflop == pytest.approx(
        2 * (1589 + 11), rel=0.02
    )  # no gradients into weights: the way back costs once
