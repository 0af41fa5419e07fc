"""The training benchmark with a toy model: its figures mean nothing, both loops must do the same."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from latent_guard.latent_clip.config import TextConfig, VisionConfig
from latent_guard.latent_clip.tokenizer import trimmed_vocab_size
from latent_guard.training.towers import Towers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not (BENCHMARKS / "training.py").exists():
        pytest.skip("the benchmarks lie beside the package in its repository only")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "compile", lambda model: model)  # it takes a minute
    monkeypatch.setattr(Towers, "compile_both", lambda towers, with_ddp: None)
    module = importlib.import_module("training")
    monkeypatch.setattr(importlib.import_module("peaks"), "SIDE", 256)  # a large product takes seconds
    tiny = replace(
        module.SMALL,
        embed_dim=16,
        vision=VisionConfig(channels=4, size=8, patch_size=4, width=32, layers=1, heads=2),
        text=TextConfig(context_length=77, vocab_size=trimmed_vocab_size(100), width=32, layers=1, heads=2),
    )
    monkeypatch.setitem(module.SCALES, "small", tiny)
    return module


def test_both_loops_are_measured_eager_and_compiled(training: ModuleType, tmp_path: Path) -> None:
    training.main(["--batch", "12", "--rounds", "3", "--out", str(tmp_path)])
    (measured,) = json.loads((tmp_path / "training.json").read_text()).values()
    lines = {line["loop"]: line for line in measured["lines"]}
    assert list(lines) == [
        "plain open_clip, eager",
        "latent-guard, eager",
        "plain open_clip, compiled",
        "latent-guard, compiled",
    ]
    for line in lines.values():
        assert line["least"] <= line["samples_per_second"] <= line["most"]
        assert 0 < line["utilisation"] < 1
    assert lines["latent-guard, eager"]["gflop_per_sample"] < lines["plain open_clip, eager"]["gflop_per_sample"]
    assert [row["target"] for row in measured["rows"]] == ["reported", ">= 1.3", ">= 45%"]
    assert measured["made_by"]["machine"]


def test_both_loops_have_the_same_gradients_of_the_same_weights(training: ModuleType) -> None:
    config = training.SCALES["small"]
    loops = training.loops_over(config, [training.stand_ins(config, 6)], torch.device("cpu"))
    plain, ours = loops["plain open_clip, eager"], loops["latent-guard, eager"]
    model = ours.towers.model
    names = {name.removeprefix("text."): parameter for name, parameter in model.named_parameters()}
    plain.model.load_state_dict({name: parameter.detach().clone() for name, parameter in names.items()})
    plain.backward()
    ours.backward()
    for name, parameter in plain.model.named_parameters():
        scale = parameter.grad.abs().max()
        torch.testing.assert_close(names[name].grad / scale, parameter.grad / scale, atol=0.05, rtol=0)  # in bfloat16


def test_captions_are_as_long_as_cocos_and_end_with_the_end_token(training: ModuleType) -> None:
    _, ids = training.stand_ins(training.SMALL, 4000)
    lengths = ids.argmax(1) + 1
    assert ids.shape == (4000, 77)
    assert abs(float(lengths.float().mean()) - 12) < 0.3
    assert 70 < int(lengths.max()) <= 77
    assert (ids[:, -1] == training.SMALL.text.vocab_size - 1).all()
