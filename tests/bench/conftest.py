"""An untrained bundle of the embedded world's shape, small enough to make on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.package_data import concepts_folder
from latent_guard.testing import tiny_latent_clip, tiny_pipeline, write_bundle
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier, mixer_net, residual_net

SIDE = 64


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    pipe = tiny_pipeline(
        scheduler=DPMSolverMultistepScheduler(prediction_type="v_prediction"),
        tokenizer=trimmed_clip_tokenizer(merges=200, context_length=32),
        pixels=SIDE,
    )
    write_bundle(folder, pipe, read_prompt_sets(concepts_folder("emoji_world")))
    tiny_latent_clip(LatentSpace.of_vae(pipe.vae)).save_pretrained(folder / "clean")
    tiny_latent_clip(PIXELS, size=SIDE, patch_size=32).save_pretrained(folder / "pixel_twin")
    judge = EmojiClassifier("residual", residual_net().eval(), torch.full((len(OBJECT_NAMES),), 0.5))
    judge.save(folder / "judge")
    labeller = EmojiClassifier("mixer", mixer_net().eval(), torch.full((len(OBJECT_NAMES),), 0.5))
    labeller.save(folder / "labeller")
    (folder / "manifest.json").write_text("{}")
    return folder
