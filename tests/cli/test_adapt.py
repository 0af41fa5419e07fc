from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_vae
from latent_guard.pipelines.canary import Canary
from tests.training.images import jpeg, write_folder

Command = Callable[..., Any]
PICTURES = 24


@pytest.fixture(scope="module")
def other_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE of another factor than the tiny bundle's."""
    folder = tmp_path_factory.mktemp("other") / "vae"
    vae(3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {f"{number:02d}.jpg": jpeg(number) for number in range(PICTURES)}
    captions = {name: f"picture {name}" for name in [*named, "bad.jpg"]}
    return write_folder(tmp_path_factory.mktemp("source") / "images", captions, {**named, "bad.jpg": b"no picture"})


def run(command: Command, bundle: Path, images: Path, out: Path, *options: Any) -> Any:
    first = "--from-vae", bundle / "pipeline", "--kind", "linear"
    return command("adapt", bundle / "guard", images, out, *first, *options)


def test_the_folder_is_a_whole_guard_for_the_other_vae(
    latent_guard_command: Command, tiny_bundle: Path, other_vae: Path, images: Path, tmp_path: Path
) -> None:
    guard, bank, pipeline = tmp_path / "guard", tmp_path / "bank", tmp_path / "pipeline"
    done = run(latent_guard_command, tiny_bundle, images, guard, "--vae", other_vae)
    assert done.code == 0, done.err
    model = LatentCLIP.from_pretrained(guard)
    assert f"{guard} now holds Latent-CLIP {model.fingerprint()}, which reads latents of Auto" in done.out
    assert "(4 channels, /4, scaling 0.5)" in done.out
    assert "fitted to 22 images in " in done.out
    assert "on 2 others" in done.out
    assert "% of the variance explained, embeddings as before to a cosine of " in done.out
    assert "warning: 1 images could not be read" in done.err
    assert model.config.latent_space == LatentSpace.of_vae(load_vae(str(other_vae)))
    Canary.load(guard).check(load_vae(str(other_vae)), torch.device("cpu"))
    assert latent_guard_command("concepts", "build", "i2p", "--guard", guard, "--out", bank).code == 0
    pipe = StableDiffusionPipeline.from_pretrained(tiny_bundle / "pipeline")
    pipe.register_modules(vae=load_vae(str(other_vae)))
    pipe.save_pretrained(pipeline)
    with LatentGuard.from_pretrained(guard, bank).attach(pipe) as watch:
        pipe("a dagger", num_inference_steps=2, height=32, width=32)
    assert len(watch.verdicts) == 1
    places = ("--model", pipeline, "--guard", guard)
    findings = tmp_path / "findings.jsonl"
    latent_guard_command("check", images / "00.jpg", *places, "--bank", bank, "--out", findings)
    assert json.loads(findings.read_text().splitlines()[-1])["scores"]
    shutil.copytree(images, tmp_path / "classes" / "noise", ignore=shutil.ignore_patterns("bad*", "metadata*"))
    shutil.copytree(tmp_path / "classes" / "noise", tmp_path / "classes" / "dust")
    done = latent_guard_command("zero-shot", tmp_path / "classes", *places, "--out", tmp_path / "zero_shot")
    assert done.code == 0, done.err


def test_the_same_command_gives_the_same_model(
    latent_guard_command: Command, tiny_bundle: Path, other_vae: Path, images: Path, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        assert run(latent_guard_command, tiny_bundle, images, tmp_path / name, "--vae", other_vae).code == 0
    one, other = (LatentCLIP.from_pretrained(tmp_path / name) for name in ("one", "other"))
    assert one.fingerprint() == other.fingerprint()
    again = run(latent_guard_command, tiny_bundle, images, tmp_path / "one", "--vae", other_vae)
    onwards = latent_guard_command("adapt", tmp_path / "one", images, tmp_path / "two", "--vae", other_vae)
    assert "one is adapted already; give the Latent-CLIP that it was made from" in refused(onwards)
    assert refused(again) == f"error: {tmp_path / 'one'} already holds a Latent-CLIP; choose a new folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vae", "{bundle}/pipeline"], "makes the latents that this Latent-CLIP reads already; it needs no adapter"),
        (["--vae", "{other}", "--from-vae", "{other}"], "makes latents of .*/4, scaling 0.5.* reads those of .*/2"),
        (["--vae", "nowhere"], "--vae nowhere is neither a folder nor a hub id"),
        (["--vae", "{other}", "--images", "5"], "5 images are too few to fit an adapter to; give at least 20"),
        (["--vae", "{coarse}"], "reads 16 pixels a side, and .* needs a multiple of 32"),
    ],
)
def test_what_cannot_be_adapted_is_one_line_and_writes_nothing(
    latent_guard_command: Command,
    tiny_bundle: Path,
    other_vae: Path,
    images: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
) -> None:
    coarse = tmp_path / "coarse"
    if "{coarse}" in options:
        vae(6).save_pretrained(coarse)
    given = [option.format(bundle=tiny_bundle, other=other_vae, coarse=coarse) for option in options]
    error = refused(run(latent_guard_command, tiny_bundle, images, tmp_path / "out", *given))
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_none_and_a_source_without_images_are_refused(
    latent_guard_command: Command, tiny_bundle: Path, other_vae: Path, images: Path, tmp_path: Path
) -> None:
    arguments = ("--vae", other_vae, "--from-vae", tiny_bundle / "pipeline")
    no_model = latent_guard_command("adapt", images, images, tmp_path / "out", *arguments)
    assert f"MODEL {images} is a folder without config.json" in refused(no_model)
    named = {f"{number}.jpg": b"no picture" for number in range(3)}
    bad = write_folder(tmp_path / "bad", dict.fromkeys(named, "a caption"), named)
    assert "holds no image that can be read" in refused(
        run(latent_guard_command, tiny_bundle, bad, tmp_path / "out", "--vae", other_vae)
    )
    occupied = tmp_path / "occupied"
    write_folder(occupied, {}, {"thesis.txt": b"dear"})
    assert "something else" in refused(run(latent_guard_command, tiny_bundle, images, occupied, "--vae", other_vae))


def vae(blocks: int) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
        sample_size=16,
        scaling_factor=0.5,
    ).eval()


def refused(done: Any) -> str:
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    return str(done.err.splitlines()[-1])  # the lines before are progress bars
