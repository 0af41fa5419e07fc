"""The stages of a build of the world: each makes its result once, and reads it back afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusionPipeline
from diffusers import UNet2DConditionModel as UNet
from transformers import CLIPTextModel

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.files.atomic import atomic_file
from latent_guard.fitting.pushed import pushes_by
from latent_guard.guidance.policy import STEER
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.package_data import concepts_folder
from latent_guard.pipelines.vae import to_model_range
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.autoencoder import encode, train_autoencoder
from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.classifier_training import JUDGE, PSEUDO_LABELLER, ClassifierPreset, train_classifier
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.distillation import distil
from latent_guard.worlds.emoji.estimates import Trajectories, joined, record, write_estimate_shards
from latent_guard.worlds.emoji.generator import assemble, train_generator
from latent_guard.worlds.emoji.pool import Pool, draw_pool
from latent_guard.worlds.emoji.recipes import write_recipe
from latent_guard.worlds.emoji.rectified_flow import train_flow
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scale import Scale
from latent_guard.worlds.emoji.scenes import FULL, MILD
from latent_guard.worlds.emoji.text_encoder import train_text_encoder

CAPTIONS_A_SCENE = 4
DONE = "done"


@dataclass(frozen=True)
class Stages:
    """The trained parts of the world, made on first use in ``folder``; no part is trained twice."""

    folder: Path
    seed: int
    scale: Scale

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The VAE."""
        home = self.folder / "vae"
        if not _is_done(home):
            vae = train_autoencoder(home, self.scale.autoencoder, seed=self._seed(7), scenes=self.scale.scenes)
            _finish(home, vae.save_pretrained)
        return AutoencoderKL.from_pretrained(home)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """The generator's text encoder."""
        home = self.folder / "text"
        if not _is_done(home):
            encoder = train_text_encoder(home, self.scale.text, seed=self._seed(17), captions=self.scale.captions)
            _finish(home, encoder.save_pretrained)
        return CLIPTextModel.from_pretrained(home)

    @cached_property
    def unet(self) -> UNet:
        """The denoiser."""
        home = self.folder / "generator"
        if not _is_done(home):
            unet = train_generator(
                home,
                self.vae,
                self.text_encoder,
                self.scale.generator,
                seed=self._seed(27),
                scenes=self.scale.generator_scenes,
            )
            _finish(home, unet.save_pretrained)
        return UNet.from_pretrained(home)

    @cached_property
    def few_step(self) -> UNet:
        """The denoiser of the few-step generator, distilled from ``unet``."""
        home = self.folder / "few_step"
        if not _is_done(home):
            student = distil(
                home,
                self.vae,
                self.text_encoder,
                self.unet,
                self.scale.few_step,
                seed=self._seed(97),
                scenes=self.scale.generator_scenes,
            )
            _finish(home, student.save_pretrained)
        return UNet.from_pretrained(home)

    @cached_property
    def flow(self) -> SD3Transformer2DModel:
        """The transformer of the flow generator, trained on the latents that ``unet`` was trained on."""
        home = self.folder / "flow"
        if not _is_done(home):
            transformer = train_flow(
                home,
                self.folder / "generator",
                self.vae,
                self.text_encoder,
                self.scale.flow,
                seed=self._seed(107),
                latents_seed=self._seed(27),
                scenes=self.scale.generator_scenes,
            )
            _finish(home, transformer.save_pretrained)
        return SD3Transformer2DModel.from_pretrained(home)

    @cached_property
    def pipeline(self) -> StableDiffusionPipeline:
        """The whole generator."""
        pipe = assemble(self.vae, self.text_encoder, self.unet)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    @cached_property
    def pseudo_labeller(self) -> EmojiClassifier:
        """The classifier for tuning."""
        return self._classifier("labeller", PSEUDO_LABELLER)

    @cached_property
    def judge(self) -> EmojiClassifier:
        """The classifier for reported figures."""
        return self._classifier("judge", JUDGE)

    def grader(self) -> LatentCLIP:
        """The metric CLIP, with scenes, captions and weights that no other model of the world shares."""
        self._write_shards(77, {"grader_pixels": PIXELS})
        return self.clip("grader", self._seed(87))

    def write_clean_shards(self) -> None:
        """Write latents and pixels of the same scenes and captions, for the Latent-CLIP and the pixel CLIP."""
        self._write_shards(47, {"latents": LatentSpace.of_vae(self.vae), "pixels": PIXELS})

    def write_clean_pixels(self) -> None:
        """Write the pixels alone, which takes no VAE."""
        self._write_shards(47, {"pixels": PIXELS})

    def write_estimate_shards(self) -> None:
        """Write the generator's guided clean estimates on training prompts, captioned by the pseudo-labeller.

        Some of the generations show something unsafe, and are pushed by the Latent-CLIP of clean latents.
        """
        latents = self.folder / "shards" / "estimates"
        pixels = self.folder / "shards" / "estimate_pixels"
        if (pixels / "index.json").exists():
            return
        stream = training_samples(self._seed(57), MILD)
        plain = [sample.caption for sample in itertools.islice(stream, self.scale.estimates)]
        unsafe = (sample.caption for sample in stream if sample.scene.is_unsafe)
        pushed = list(itertools.islice(unsafe, self.scale.pushed_estimates))
        clean = self.clip("clean")
        bank = ConceptBank.build(clean, read_prompt_sets(concepts_folder("emoji_world")))
        pushes = pushes_by(clean, bank, LatentSpace.of_vae(self.vae), self._seed(57), (STEER.strength,) * 2)
        trajectories = joined(
            [
                record(self.pipeline, plain, range(len(plain))),
                record(self.pipeline, pushed, range(len(pushed)), pushes),
            ]
        )
        write_estimate_shards(latents, pixels, self.pipeline, trajectories, self.pseudo_labeller, self._seed(57))

    def clip(self, name: str, seed: int | None = None) -> LatentCLIP:
        """A CLIP, trained from its recipe file as ``latent-guard train`` would."""
        recipe = write_recipe(name, self.folder, self.scale, self._seed(67) if seed is None else seed)
        train(Recipe.read(recipe))
        return LatentCLIP.from_pretrained(self.folder / name)

    def trajectories(self, prompts: Sequence[str], seeds: Sequence[int], name: str) -> Trajectories:
        """Unguarded generations with the clean estimates of all steps, recorded once."""
        path = self.folder / f"{name}.pt"
        if not path.exists():
            with atomic_file(path) as partial:
                torch.save(vars(record(self.pipeline, prompts, seeds)), partial)
        return Trajectories(**torch.load(path, weights_only=True))

    def _seed(self, stage: int) -> int:
        return 1000 * self.seed + stage

    def _classifier(self, name: str, preset: ClassifierPreset) -> EmojiClassifier:
        home = self.folder / name
        if not _is_done(home):
            classifier = train_classifier(
                home, self.vae, preset, self.scale.classifier, seed=self.seed, scenes=self.scale.scenes
            )
            _finish(home, classifier.save)
        return EmojiClassifier.load(home)

    def _write_shards(self, stage: int, spaces: Mapping[str, LatentSpace]) -> None:
        """Write a stage's rendered scenes and captions as shards of each space, by folder; what is there stays."""
        folders = {self.folder / "shards" / name: space for name, space in spaces.items()}
        missing = {folder: space for folder, space in folders.items() if not (folder / "index.json").exists()}
        if not missing:
            return
        pool, captions = self._captioned_pool(stage)
        for folder, space in missing.items():
            of_pixels = space == PIXELS
            read = to_model_range(pool.pictures).half() if of_pixels else encode(self.vae, pool.pictures)
            with ShardWriter(folder, space) as writer:
                writer.add(read, captions)

    def _captioned_pool(self, stage: int) -> tuple[Pool, list[list[str]]]:
        """Rendered scenes of a stage, and several captions of each."""
        pool = draw_pool(self._seed(stage), self.scale.clip_scenes, FULL)
        rng = np.random.default_rng(self._seed(stage))
        return pool, [[caption(sample.scene, rng) for _ in range(CAPTIONS_A_SCENE)] for sample in pool.samples]


def _is_done(home: Path) -> bool:
    return (home / DONE).exists()


def _finish(home: Path, save: Callable[[Path], None]) -> None:
    """Save a stage's result into its folder, and mark it as done."""
    save(home)
    (home / DONE).touch()
