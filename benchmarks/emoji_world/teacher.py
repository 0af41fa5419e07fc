"""A CLIP on pixels that may teach guards of the world's generators: it learns from rendered scenes alone.

It never sees a generated image or a label, and shares no seed with what ships, and so neither with the judge.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from latent_guard.worlds.emoji.scale import SHIPPED
from latent_guard.worlds.emoji.stages import Stages

SEED, STEPS = 31, 1200


def train_teacher(folder: Path) -> Path:
    """Train it in ``folder``, from where an earlier call stopped, and return the folder to give to ``--teacher``."""
    stages = Stages(folder, SEED, replace(SHIPPED, clip_steps=STEPS))
    stages.write_clean_pixels()
    stages.clip("twin_clean")
    return folder / "twin_clean"
