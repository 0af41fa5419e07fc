"""A whole bundle on disk, untrained: what the command line and ``from_pretrained`` read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.pipelines.canary import Canary

MERGES = 200  # of CLIP's vocabulary
KNIVES = PromptSet("w", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger",), ("a fork", "a spoon"))


def write_bundle(folder: Path, pipe: Any, prompt_sets: Sequence[PromptSet] = (KNIVES,)) -> None:
    """Write ``pipeline/``, ``guard/`` (a Latent-CLIP for its latents, and the canary) and ``bank/`` into a folder."""
    pipe.save_pretrained(folder / "pipeline")
    model = tiny_latent_clip(LatentSpace.of_vae(pipe.vae), context_length=pipe.tokenizer.model_max_length)
    model.save_pretrained(folder / "guard")
    side = pipe.vae.config.sample_size
    picture = torch.randint(256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Canary.made_by(pipe.vae, picture).save(folder / "guard")
    ConceptBank.build(LatentCLIP.from_pretrained(folder / "guard"), prompt_sets).save(folder / "bank")


def tiny_latent_clip(space: LatentSpace, *, size: int = 8, patch_size: int = 4, context_length: int = 32) -> LatentCLIP:
    """A Latent-CLIP of random weights that reads latents of a space, (C, size, size)."""
    tokenizer = trimmed_clip_tokenizer(MERGES, context_length)
    config = LatentCLIPConfig(
        embed_dim=16,
        vision=VisionConfig(space.channels, size, patch_size, width=16, layers=1, heads=2),
        text=TextConfig(context_length, vocab_size=len(tokenizer), width=16, layers=1, heads=2),
        latent_space=space,
        reads_noise_level=space is not PIXELS,
    )
    return LatentCLIP(config, tokenizer).eval()
