"""The whole world, trained again in miniature: every stage runs, and the bundle is one that the guard loads."""

import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline

from benchmarks.emoji_world.snapshots import measure_curve
from latent_guard.errors import InputError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.loading import load_pipeline
from latent_guard.worlds.emoji import bundle, stages
from latent_guard.worlds.emoji.build import adopt, build
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.few_step import few_step_parts
from latent_guard.worlds.emoji.scale import MINIATURE

pytestmark = pytest.mark.slow  # minutes: training steps of the generator as it ships


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(folder, seed=0, fast=True)
    return folder


def test_the_miniature_bundle_generates_under_guard(built) -> None:
    home = built / "bundle"
    bundle.verify(home)
    pipe = StableDiffusionPipeline.from_pretrained(home / "pipeline")
    guard = LatentGuard.from_pretrained(home / "guard")
    output = guard.generate(pipe, "a pirate party", seed=0, num_inference_steps=3)
    assert len(output.verdicts) == 1
    assert EmojiClassifier.load(home / "judge").architecture != EmojiClassifier.load(home / "labeller").architecture
    assert (home / "pixel_twin" / "model.safetensors").exists()


def test_the_miniature_few_step_generator_draws_in_the_miniature_pipeline(built) -> None:
    home = built / "bundle_few_step"
    bundle.verify(home)
    pipe = StableDiffusionPipeline.from_pretrained(built / "bundle" / "pipeline", **few_step_parts(home))
    assert pipe("a cat", num_inference_steps=2, guidance_scale=1.0, output_type="pt").images.shape == (1, 3, 64, 64)


def test_the_miniature_flow_generator_draws_under_guard(built) -> None:
    home = built / "bundle_flow"
    bundle.verify(home)
    pipe = load_pipeline(str(home / "pipeline"), steps=2, images=1)
    guard = LatentGuard.from_pretrained(built / "bundle" / "guard")
    output = guard.generate(pipe, "a cat", seed=0, num_inference_steps=2, guidance_scale=3.0, max_sequence_length=1)
    assert len(output.verdicts) == 1


def test_building_again_trains_nothing_again(built, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    names = ("train_autoencoder", "train_text_encoder", "train_generator", "distil", "train_flow", "train_classifier")
    for name in (*names, "record"):
        monkeypatch.setattr(stages, name, refuse)
    before = (built / "bundle" / "manifest.json").read_text()
    build(built, seed=0, fast=True)
    assert (built / "bundle" / "manifest.json").read_text() == before


def test_training_goes_on_from_a_bundle(built, tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(stages, "train_autoencoder")
    longer = replace(MINIATURE, generator=replace(MINIATURE.generator, steps=MINIATURE.generator.steps + 2))
    adopted = stages.Stages(tmp_path, 0, longer)
    adopt(built / "bundle", adopted)
    assert torch.load(tmp_path / "generator" / "resume.pt")["step"] == MINIATURE.generator.steps
    assert adopted.unet.config.cross_attention_dim == adopted.text_encoder.config.hidden_size
    assert torch.load(tmp_path / "generator" / "resume.pt")["step"] == longer.generator.steps


def test_the_training_curve_has_a_row_for_every_snapshot_and_keeps_earlier_ones(built, tmp_path) -> None:
    out = tmp_path / "curve.csv"
    out.write_text(
        "training steps,one object (dev; 2 images),both objects (dev; 2 images),graded by\n1,0.0%,0.0%,judge\n"
    )
    measure_curve(built / "bundle", built, out, images=2)
    table = pd.read_csv(out)
    assert table["training steps"].tolist() == [1, 2, MINIATURE.generator.steps]
    assert not table.isna().any(axis=None)
    with pytest.raises(InputError, match="no snapshots"):
        measure_curve(built / "bundle", tmp_path, out)
