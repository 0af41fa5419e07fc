"""A pipeline and a guard small enough to make on the spot, and the command line as a user meets it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from latent_guard.cli import main
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.vae import encode
from tests.cli.picture_sources import Reading

CONTEXT = 16
CHANNELS = 4


@dataclass(frozen=True)
class Finished:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def latent_guard_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    def run(*arguments: str | Path, app: Any = None) -> Finished:
        monkeypatch.setattr(sys, "argv", ["latent-guard", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main("latent-guard", app)
        printed = capsys.readouterr()
        return Finished(int(stop.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def reading(latent_guard_command: Callable[..., Finished], tiny_bundle: Path, tmp_path: Path) -> Reading:
    return Reading(latent_guard_command, tiny_bundle, tmp_path / "out")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained ``pipeline/``, ``guard/`` and ``bank/``, side by side."""
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    pipe = _pipeline()
    pipe.save_pretrained(folder / "pipeline")
    model = _latent_clip(LatentSpace.of_vae(pipe.vae))
    model.save_pretrained(folder / "guard")
    picture = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    latent = encode(pipe.vae, picture[None])[0]
    Canary(picture, latent).save(folder / "guard")
    prompt_set = PromptSet("w", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger",), ("a fork", "a spoon"))
    ConceptBank.build(LatentCLIP.from_pretrained(folder / "guard"), [prompt_set]).save(folder / "bank")
    return folder


def _pipeline() -> StableDiffusionPipeline:
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=CONTEXT)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=len(tokenizer) - 1,
    )
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            latent_channels=CHANNELS,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=16,
            **blocks,
        ).eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **blocks,
        ).eval(),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _latent_clip(space: LatentSpace) -> LatentCLIP:
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=CONTEXT)
    config = LatentCLIPConfig(
        embed_dim=16,
        vision=VisionConfig(channels=CHANNELS, size=8, patch_size=4, width=16, layers=1, heads=2),
        text=TextConfig(context_length=CONTEXT, vocab_size=len(tokenizer), width=16, layers=1, heads=2),
        latent_space=space,
        reads_noise_level=True,
    )
    return LatentCLIP(config, tokenizer).eval()
