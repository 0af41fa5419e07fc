"""An untrained bundle of the embedded world's shape, small enough to make on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.package_data import concepts_folder
from latent_guard.pipelines.canary import Canary
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier, mixer_net, residual_net

CHANNELS, CONTEXT = 4, 32


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=CONTEXT)
    pipe = _pipeline(tokenizer)
    pipe.save_pretrained(folder / "pipeline")
    guard = _latent_clip(tokenizer, LatentSpace.of_vae(pipe.vae), size=8, patch_size=4)
    guard.save_pretrained(folder / "guard")
    guard.save_pretrained(folder / "clean")
    Canary.made_by(pipe.vae, torch.randint(256, (3, 64, 64), dtype=torch.uint8)).save(folder / "guard")
    saved = LatentCLIP.from_pretrained(folder / "guard")
    ConceptBank.build(saved, read_prompt_sets(concepts_folder("emoji_world"))).save(folder / "bank")
    _latent_clip(tokenizer, PIXELS, size=64, patch_size=32).save_pretrained(folder / "pixel_twin")
    judge = EmojiClassifier("residual", residual_net().eval(), torch.full((len(OBJECT_NAMES),), 0.5))
    judge.save(folder / "judge")
    labeller = EmojiClassifier("mixer", mixer_net().eval(), torch.full((len(OBJECT_NAMES),), 0.5))
    labeller.save(folder / "labeller")
    (folder / "manifest.json").write_text("{}")
    return folder


def _latent_clip(tokenizer: CLIPTokenizer, space: LatentSpace, size: int, patch_size: int) -> LatentCLIP:
    config = LatentCLIPConfig(
        embed_dim=16,
        vision=VisionConfig(space.channels, size, patch_size, width=16, layers=1, heads=2),
        text=TextConfig(context_length=CONTEXT, vocab_size=len(tokenizer), width=16, layers=1, heads=2),
        latent_space=space,
        reads_noise_level=space is not PIXELS,
    )
    return LatentCLIP(config, tokenizer).eval()


def _pipeline(tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=len(tokenizer) - 1,
    )
    common: dict[str, Any] = {"norm_num_groups": 4, "layers_per_block": 1}
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            latent_channels=CHANNELS,
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=64,
            **common,
        ).eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            block_out_channels=(8, 8),
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **common,
        ).eval(),
        scheduler=DPMSolverMultistepScheduler(prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
