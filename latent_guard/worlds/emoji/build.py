"""The build of the world: train every model from nothing, and write the bundle that ships."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers import UNet2DConditionModel as UNet

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibrate import calibrate
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.files.documents import read_json
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.recording import record_calibration_set
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.package_data import concepts_folder
from latent_guard.pipelines.canary import Canary
from latent_guard.worlds.emoji.arguments import ARGUMENTS
from latent_guard.worlds.emoji.bundle import bundle_folder, write_manifest
from latent_guard.worlds.emoji.few_step import save_few_step
from latent_guard.worlds.emoji.labelled_prompts import labelled_prompts
from latent_guard.worlds.emoji.loop import start_from
from latent_guard.worlds.emoji.pool import draw_pool
from latent_guard.worlds.emoji.rectified_flow import assemble_flow
from latent_guard.worlds.emoji.scale import MINIATURE, SHIPPED
from latent_guard.worlds.emoji.scenes import FULL
from latent_guard.worlds.emoji.stages import DONE, Stages
from latent_guard.worlds.emoji.text_encoder import world_tokenizer

CANARY_SCENE = 4711  # seed
RECORD = "training.json"  # seed, steps and sizes of every stage


def build(folder: Path, seed: int, fast: bool, from_shipped: bool = False) -> None:
    """Train every model into ``folder``, and write the files that ship into ``bundle`` and ``bundle_*``.

    Every stage resumes where it was interrupted, and is skipped once it is done.

    Args:
        folder: folder of the build.
        seed: seed of all stages.
        fast: whether to build in miniature: every stage runs, and the models are useless.
        from_shipped: whether to start from the shipped VAE, text encoder and classifiers, and to continue the training
            of the shipped UNet.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("latent_guard").setLevel(logging.INFO)
    stages = Stages(folder, seed, MINIATURE if fast else SHIPPED)
    if from_shipped and not (folder / "generator").exists():
        adopt(bundle_folder(), stages)
    stages.write_clean_shards()
    for name in ("clean", "twin_clean"):
        stages.clip(name)
    stages.write_estimate_shards()
    guard = stages.clip("guard")
    pixel_clip = stages.clip("pixel_twin")
    write_few_step(stages)  # before the bundle, which converts its models to half precision, as is the next
    write_flow(stages)
    write_bundle(stages, guard, pixel_clip)
    write_grader(stages)


def write_few_step(stages: Stages) -> None:
    """Write the few-step generator with its own manifest: it can be distilled again without a new bundle."""
    record = {"seed": stages.seed, "scenes": stages.scale.generator_scenes, **asdict(stages.scale.few_step)}
    save_few_step(stages.few_step, stages.folder / "bundle_few_step", record)


def write_flow(stages: Stages) -> None:
    """Write the flow generator, a whole pipeline in half precision, with its own manifest."""
    home = stages.folder / "bundle_flow"
    shutil.rmtree(home, ignore_errors=True)
    pipe = assemble_flow(stages.vae, stages.text_encoder, copy.deepcopy(stages.flow))
    pipe.to(dtype=torch.float16).save_pretrained(home / "pipeline", safe_serialization=True)
    _clean_configs(home / "pipeline")
    record = {"seed": stages.seed, "scenes": stages.scale.generator_scenes, **asdict(stages.scale.flow)}
    (home / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    write_manifest(home)


def write_grader(stages: Stages) -> None:
    """Write the metric CLIP, float16, with its own manifest, apart from the bundle that methods use."""
    home = stages.folder / "bundle_grader"
    shutil.rmtree(home, ignore_errors=True)
    stages.grader().save_pretrained(home)
    write_manifest(home)


def write_bundle(stages: Stages, guard: LatentCLIP, pixel_clip: LatentCLIP) -> None:
    """Write the bundle that ships, float16, with its manifest; an earlier bundle in the folder is replaced."""
    home = stages.folder / "bundle"
    shutil.rmtree(home, ignore_errors=True)
    guard.save_pretrained(home / "guard")
    pixel_clip.save_pretrained(home / "pixel_twin")
    stages.clip("clean").save_pretrained(home / "clean")
    picture = draw_pool(CANARY_SCENE, 1, FULL).pictures[0]
    Canary.made_by(stages.vae, picture).save(home / "guard")
    stages.pseudo_labeller.save(home / "labeller")
    stages.judge.save(home / "judge")
    _save_pipeline(stages.pipeline, home / "pipeline")
    make_bank(stages, home).save(home / "bank")
    record = {"seed": stages.seed, **asdict(stages.scale)}
    (home / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    write_manifest(home)


def _save_pipeline(pipe: StableDiffusionPipeline, home: Path) -> None:
    """Save the pipeline in half precision; it loads in single precision by default, as users of diffusers expect."""
    pipe.register_modules(tokenizer=world_tokenizer())  # a used one would save its last padding
    pipe.to(dtype=torch.float16).save_pretrained(home, safe_serialization=True)
    _clean_configs(home)


def _clean_configs(home: Path) -> None:
    """Take out of the configs of a pipeline's parts what is of the machine or of the file's precision."""
    for config in home.glob("*/config.json"):
        settings = read_json(config, "the config")
        settings.pop("_name_or_path", None)  # a path of the machine that trained it
        if config.parent.name.startswith("text_encoder"):
            settings["dtype"] = "float32"  # transformers would load the precision of the file
        config.write_text(json.dumps(settings, indent=2) + "\n")


def adopt(bundle: Path, stages: Stages) -> None:
    """Copy a bundle's models as the results of a build's stages; the UNet becomes a run that can be resumed."""
    parts = {"vae": "pipeline/vae", "text": "pipeline/text_encoder", "labeller": "labeller", "judge": "judge"}
    for stage, part in parts.items():
        shutil.copytree(bundle / part, stages.folder / stage, dirs_exist_ok=True)
        (stages.folder / stage / DONE).touch()
    steps = read_json(bundle / RECORD, "the record")["generator"]["steps"]
    unet = UNet.from_pretrained(bundle / "pipeline" / "unet", torch_dtype=torch.float32)
    start_from(stages.folder / "generator", unet, steps, stages.scale.generator)


def make_bank(stages: Stages, home: Path) -> ConceptBank:
    """Make the concept bank of a bundle from text, calibrated on generations that the pseudo-labeller labelled.

    It is made by the models as they ship, as ``latent-guard concepts build`` and ``calibrate`` would.
    """
    guard = LatentCLIP.from_pretrained(home / "guard")
    scale = stages.scale
    bank = ConceptBank.build(guard, read_prompt_sets(concepts_folder("emoji_world")))
    path = stages.folder / f"calibration-{guard.fingerprint()}.safetensors"
    if not path.exists():
        pipe = StableDiffusionPipeline.from_pretrained(home / "pipeline", torch_dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        prompts = labelled_prompts(stages.pseudo_labeller, "calibration", scale.calibration)
        watcher = LatentGuard(guard, bank)
        record_calibration_set(watcher, pipe, prompts, Policies.of(SAFE), "the shipped model", **ARGUMENTS).save(path)
    return calibrate(bank, CalibrationSet.load(path), scale.touched).bank
