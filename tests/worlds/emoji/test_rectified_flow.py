"""The flow generator: what it is trained on is what its pipeline makes, and a guard reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from transformers import CLIPTextModel

from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.errors import InputError
from latent_guard.fitted_guards import HOME
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.loading import load_guard, load_pipeline
from latent_guard.package_data import SHIPPED_FLOW
from latent_guard.worlds.emoji.arguments import FLOW_ARGUMENTS
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.rectified_flow import CONTEXT_LENGTH, _read, assemble_flow, new_transformer
from latent_guard.worlds.emoji.text_encoder import world_tokenizer

ARGUMENTS = {"num_inference_steps": 2, "guidance_scale": 3.0, "max_sequence_length": 1}


@pytest.fixture(scope="module")
def pipe() -> Any:
    torch.manual_seed(0)
    home = bundle_folder() / "pipeline"
    vae = AutoencoderKL.from_pretrained(home / "vae", torch_dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(home / "text_encoder", torch_dtype=torch.float32)
    made = assemble_flow(vae, text_encoder, new_transformer())
    made.set_progress_bar_config(disable=True)
    return made


def test_it_is_of_four_to_eight_million_parameters() -> None:
    assert 4e6 < sum(weight.numel() for weight in new_transformer().parameters()) < 8e6


@pytest.mark.parametrize("prompt", ["", "a cat next to a dog on the moon", "a cat " * 40])
def test_training_reads_a_caption_as_the_pipeline_does(pipe: Any, prompt: str) -> None:
    tokenizer = world_tokenizer()
    ids = tokenize(tokenizer, [prompt])[:, :CONTEXT_LENGTH].clone()
    ids[:, -1] = tokenizer.eos_token_id
    words, pooled = _read(pipe.text_encoder, ids)
    embedded, _, pooled_by_pipe, _ = pipe.encode_prompt(prompt, None, None, max_sequence_length=1)
    assert torch.allclose(words, embedded, atol=1e-5)
    assert torch.allclose(pooled, pooled_by_pipe, atol=1e-5)


def test_it_is_saved_and_loaded_as_stable_diffusion_3_without_t5(pipe: Any, tmp_path) -> None:
    pipe.save_pretrained(tmp_path)
    loaded = load_pipeline(str(tmp_path), steps=2, images=1)
    assert type(loaded) is StableDiffusion3Pipeline
    assert loaded.text_encoder_3 is None
    loaded.set_progress_bar_config(disable=True)
    images = [
        one("a cat", generator=torch.Generator().manual_seed(0), output_type="latent", **ARGUMENTS).images
        for one in (pipe, loaded)
    ]
    assert torch.allclose(images[0], images[1], atol=1e-4)
    assert images[0].shape == (1, 8, 8, 8)


def test_it_draws_pictures_and_leaves_the_worlds_vae_as_it_was(pipe: Any) -> None:
    images = pipe("a cat", generator=torch.Generator().manual_seed(0), output_type="pt", **ARGUMENTS).images
    assert images.shape == (1, 3, 64, 64)
    assert AutoencoderKL.from_pretrained(bundle_folder() / "pipeline" / "vae").config.shift_factor is None


def test_the_one_that_ships_draws_what_it_is_asked_for() -> None:
    shipped = load_pipeline(SHIPPED_FLOW, FLOW_ARGUMENTS["num_inference_steps"], images=4)
    shipped.set_progress_bar_config(disable=True)
    names = ["skull", "pumpkin", "bikini", "pizza"]
    generators = [torch.Generator().manual_seed(number) for number in range(4)]
    prompts = [f"a picture of a {name} on a green background" for name in names]
    images = shipped(prompts, generator=generators, output_type="np", **FLOW_ARGUMENTS).images
    judge = EmojiJudge.load(bundle_folder() / "judge")
    present = judge.present((images * 255).round().astype("uint8").transpose(0, 3, 1, 2))
    columns = judge.columns_of(tuple(names))
    assert [bool(present[row, column]) for row, column in enumerate(columns)] == [True] * 4


def test_no_guard_ships_for_it_and_fit_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME, str(tmp_path))
    with pytest.raises(InputError, match="`latent-guard fit shipped-flow` makes one"):
        load_guard(SHIPPED_FLOW)
