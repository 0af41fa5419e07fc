"""The study of what a student learns from, and from how many images: every way of it, on a tiny pipeline."""

from __future__ import annotations

import pandas as pd
import torch

from benchmarks.emoji_world import tuning
from benchmarks.emoji_world.rows.auroc_by_step import RecordedPairs
from latent_guard.worlds.emoji.estimates import Trajectories


def recorded(sign: float) -> Trajectories:
    generator = torch.Generator().manual_seed(0)
    estimates = sign + torch.randn(4, 2, 4, 8, 8, generator=generator)
    return Trajectories(estimates.half(), torch.tensor([0.9, 0.0]), torch.zeros(4, 3, 8, 8, dtype=torch.uint8))


def test_every_way_is_tried_and_the_first_at_every_number_of_images(fit_of, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tuning, "IMAGES", (40, 1000))
    pairs = RecordedPairs(recorded(1.0), recorded(-1.0), [0, 1, 2, 3])
    found = tuning.study(fit_of(), pairs, tmp_path / "out", tmp_path / "tuning.csv")
    assert found["images"].tolist() == [0, *[1000] * 7, 40]
    assert len(set(found["learnt from"])) == 8
    assert pd.read_csv(tmp_path / "tuning.csv").shape == found.shape
    models = {folder.name for folder in (tmp_path / "out").iterdir()}
    assert len(models) == 8
    assert "the-same-over-categories-alone-1000" in models
