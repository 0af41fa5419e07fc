"""The CLIP on pixels that may teach: made by one command, from rendered scenes alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.emoji_world import teacher
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.worlds.emoji.scale import MINIATURE


def test_a_teacher_is_trained_once_and_reads_pictures(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(teacher, "SHIPPED", MINIATURE)
    monkeypatch.setattr(teacher, "STEPS", 2)
    folder = teacher.train_teacher(tmp_path)
    clip = LatentCLIP.from_pretrained(folder)
    assert clip.config.latent_space.channels == 3
    assert {path.name for path in tmp_path.iterdir()} == {"recipes", "shards", "twin_clean"}  # no other model is asked
    assert LatentCLIP.from_pretrained(teacher.train_teacher(tmp_path)).fingerprint() == clip.fingerprint()
