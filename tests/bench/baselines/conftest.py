"""A context on the untrained bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.pixel_clip import pixel_clip_bank
from latent_guard.concepts.bank import ConceptBank


@pytest.fixture(scope="session")
def tiny_context(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BaselineContext:
    return BaselineContext(tiny_bundle, tmp_path_factory.mktemp("draws"))


@pytest.fixture(scope="session")
def tiny_pipe(tiny_bundle: Path) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_bundle / "pipeline", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def tiny_bank(tiny_context: BaselineContext) -> ConceptBank:
    """The pixel CLIP's, not calibrated."""
    return pixel_clip_bank(tiny_context.pixel_clip)
