"""`latent-guard doctor`: how a pipeline can be guarded, and proof of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from diffusers import ModularPipeline

from latent_guard.testing import tiny_pipeline
from tests.pipelines.families.modular import FAMILIES
from tests.pipelines.families.stable_diffusion_others import DECODED

Command = Callable[..., Any]
Z_IMAGE = next(tiny for tiny in FAMILIES if tiny.name == "ZImageModularPipeline")


def test_a_known_pipeline_is_described_and_proven(latent_guard_command: Command, tiny_bundle: Path) -> None:
    done = latent_guard_command("doctor", tiny_bundle / "pipeline")
    assert done.code == 0
    for words in ("(B, 4, H, W), normalised by the VAE's scaling", "DDIMScheduler, known", "steps and decoder"):
        assert words in done.out
    assert "a push moves the right image the right way" in done.out
    assert done.out.count("holds") == 8


def test_without_a_dry_run_nothing_is_generated(latent_guard_command: Command, tiny_bundle: Path) -> None:
    done = latent_guard_command("doctor", tiny_bundle / "pipeline", "--no-dry-run")
    assert (done.code, "holds" in done.out) == (0, False)


def test_an_unknown_scheduler_leaves_the_decoder(latent_guard_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    tiny_pipeline().save_pretrained(folder)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "thresholding": True}))
    done = latent_guard_command("doctor", folder)
    assert done.code == 0
    assert "thresholding=True" in done.out
    assert 'gate="decode"' in done.out.replace("\n", "")
    assert done.out.count("holds") == 2


def test_a_modular_pipeline_is_described_and_proven(latent_guard_command: Command, tmp_path: Path) -> None:
    classical, folder = tmp_path / "classical", tmp_path / "modular"
    tiny_pipeline("StableDiffusionXLPipeline").save_pretrained(classical)
    pipe = ModularPipeline.from_pretrained(str(classical))
    pipe.load_components()
    pipe.save_pretrained(str(folder))
    done = latent_guard_command("doctor", folder)
    assert done.code == 0, done.out + done.err
    assert "StableDiffusionXLModularPipeline" in done.out
    assert done.out.count("holds") == 8


def test_a_modular_pipeline_whose_vae_lies_elsewhere_is_refused_by_name(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    Z_IMAGE.pipeline().save_pretrained(str(tmp_path / "modular"))
    rmtree(tmp_path / "modular" / "vae")
    done = latent_guard_command("doctor", tmp_path / "modular")
    assert done.code == 2
    assert "has no vae" in done.err


@pytest.mark.parametrize("command", [("generate", "a cat", "--safe"), ("fit",), ("reno", "a cat")])
def test_other_commands_say_that_a_modular_pipeline_is_only_attached_to(
    latent_guard_command: Command, tmp_path: Path, command: tuple[str, ...]
) -> None:
    Z_IMAGE.pipeline().save_pretrained(str(tmp_path / "modular"))
    where = [tmp_path / "modular"] if command == ("fit",) else ["--model", tmp_path / "modular"]
    done = latent_guard_command(*command, *where)
    assert done.code == 2
    assert "attach" in done.err or "guard" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["StableDiffusionUpscalePipeline"])
def test_a_pipeline_that_wants_more_than_a_prompt_says_so_in_a_line(
    latent_guard_command: Command, tmp_path: Path, name: str
) -> None:
    tiny = next(tiny for tiny in DECODED if tiny.name == name)
    tiny.pipeline().save_pretrained(tmp_path / "pipeline")
    done = latent_guard_command("doctor", tmp_path / "pipeline")
    assert done.code == 2
    assert "--no-dry-run" in done.err
    assert "Traceback" not in done.err
