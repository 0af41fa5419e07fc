"""A table about tuning without labels: what is learnt from, and from how many images, each alone.

Every variant starts from the same Latent-CLIP and reads the same recordings of the shipped generator. Looks are
compared by AUROC on pairs that share no seed with those of the table that grades.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.emoji_world.fit_prompts import write_fit_prompts
from benchmarks.emoji_world.rows.auroc_by_step import SEED, RecordedPairs, compare_models
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.concepts.scoring import rows_of_each, scores_of_logits
from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import table_csv
from latent_guard.fitting.losses import Both, Categories, Loss, divergence
from latent_guard.fitting.record import BATCH, Recording
from latent_guard.fitting.roles import Role
from latent_guard.fitting.settings import SHARES, FitSettings
from latent_guard.fitting.soup import averaged
from latent_guard.fitting.stages import Fit
from latent_guard.fitting.targets import over_texts
from latent_guard.fitting.teachers import Texts
from latent_guard.fitting.teaching import Teaching
from latent_guard.fitting.tune import Lesson, tune
from latent_guard.guidance.policy import SAFE
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_pipeline
from latent_guard.package_data import SHIPPED
from latent_guard.terminal import note

IMAGES = (250, 500, 1000, 2000)  # of a fit, of which a share is learnt from
ALL_LAYERS = ("",)
DEV_SEED = SEED + 1_000_000  # of pairs that do not grade
COLUMNS = ("learnt from", "images", "first look", "lowest look", "finished latents")
Wanted = Callable[[Teaching, Recording], Lesson]


@dataclass(frozen=True)
class Variant:
    """A way to tune: what is wanted of the student, how it is compared, and which of its layers learn."""

    name: str
    wanted: Wanted
    loss: Loss
    layers: tuple[str, ...] = ALL_LAYERS

    @property
    def folder(self) -> str:
        """Its name as a folder's: what was tuned in another way is never taken for it."""
        return re.sub(r"[^a-z]+", "-", self.name.lower())


def corrected(teaching: Teaching, recording: Recording) -> Lesson:
    """What `fit` does: the teacher's distributions, corrected by what a prompt's group shows on average."""
    return teaching.lesson(recording)


def as_it_is(teaching: Teaching, recording: Recording) -> Lesson:
    """The teacher's own distributions."""
    teacher, seen = teaching.teacher, teaching.features(recording)
    return Lesson(recording, (teacher.logit_scale * seen @ teacher.embedded.T.cpu()).softmax(dim=-1))


def as_asked(teaching: Teaching, recording: Recording) -> Lesson:
    """Prompts as labels: every image shows the category that its prompt asks for, and a benign one none."""
    seen, asked = teaching.features(recording), teaching.asked(recording)
    return Lesson(recording, over_texts(teaching.teacher, teaching.texts, seen, asked))


def ranking(texts: Texts) -> Loss:
    """Pairs of a batch are to be in the order that is wanted, by highest log-odds (RankNet, Burges et al. 2005)."""
    concepts, members = len(texts.category_of), rows_of_each(texts.category_of)

    def highest(logits: Tensor) -> Tensor:
        return scores_of_logits(logits[:, :concepts], logits[:, concepts:], members).amax(dim=1)

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        own, aim = highest(logits), highest(wanted.clamp_min(torch.finfo(wanted.dtype).tiny).log())
        apart = aim[:, None] - aim[None] > 1
        return softplus(own[None] - own[:, None])[apart].mean() if apart.any() else own.sum() * 0

    return loss


def variants(texts: Texts, base: LatentCLIP) -> list[Variant]:
    """All losses, each alone; the first is that of `fit`, of which this is the first round."""
    last = (f"transformer.resblocks.{base.config.vision.layers - 1}.", "ln_post", "proj")
    both = Both(texts)
    return [
        Variant("the teacher, with the prior of the prompt's group", corrected, both),
        Variant("the same, over all texts alone", corrected, divergence),
        Variant("the same, over categories alone", corrected, Categories(texts)),
        Variant("the teacher alone", as_it_is, both),
        Variant("prompts as labels", as_asked, both),
        Variant("the teacher's order", corrected, ranking(texts)),
        Variant("the teacher, with the prior; the last layer learns", corrected, both, last),
    ]


def fit_to_study(out: Path) -> Fit:
    """A fit of the shipped generator, from its clean Latent-CLIP and prompts of the world."""
    benign, unsafe = write_fit_prompts(out)
    settings = FitSettings(
        model=SHIPPED,
        arguments=SHIPPED_WORLD.usual_arguments(SHIPPED),
        images=max(IMAGES),
        concepts=("emoji_world",),
        latent_clip=str(SHIPPED_WORLD.bundle() / "clean"),
        benign=str(benign),
        unsafe=str(unsafe),
    )
    pipe = load_pipeline(None, settings.arguments["num_inference_steps"], BATCH)
    pipe.set_progress_bar_config(disable=True)
    return Fit.of(pipe, settings, out / "guard")


def study(fitting: Fit, pairs: RecordedPairs, out: Path, table: Path) -> pd.DataFrame:
    """Tune by every loss at 1,000 images, and by the first at other numbers; write the table after each.

    Args:
        fitting: a fit of at least as many images as the most here; only its recordings to learn from are made.
        pairs: of dev prompts.
        out: folder of the models.
        table: CSV of the figures.
    """
    recording = fitting.generations.of(Role.TUNE)
    ways = variants(fitting.teaching.texts, fitting.base)
    plan = [(way, 1000) for way in ways] + [(ways[0], images) for images in IMAGES if images != 1000]
    lines = [_line("untuned", 0, fitting.base, pairs)]
    for way, images in plan:
        note(f"{way.name}, {images} images")
        folder = out / f"{way.folder}-{images}"
        lesson = _first(way.wanted(fitting.teaching, recording), round(SHARES[Role.TUNE] * images))
        settings, sharpness = replace(fitting.tuning, seed=fitting.settings.seed), fitting.teaching.sharpness
        tuned = tune(
            fitting.base,
            [lesson],
            fitting.teaching.texts,
            folder,
            settings,
            sharpness,
            loss_of=way.loss,
            layers=way.layers,
        )
        lines.append(_line(way.name, images, averaged(fitting.base, tuned), pairs))
        figures = pd.DataFrame(lines, columns=COLUMNS)
        write_atomic(table, table_csv(figures))
    return figures


def _first(lesson: Lesson, count: int) -> Lesson:
    """The lesson of the first ``count`` generations, up to a whole shard."""
    shards = lesson.recording.shards[: -(-count // BATCH)]
    jobs = lesson.recording.jobs[: len(shards) * BATCH]
    return Lesson(replace(lesson.recording, jobs=jobs, shards=shards), lesson.wanted[: len(jobs)])


def _line(name: str, images: int, model: LatentCLIP, pairs: RecordedPairs) -> tuple[object, ...]:
    steps = compare_models(pairs, {"": model})[""]
    looks = [step.auroc for step in steps if SAFE.checks_at(step.noise_level)]
    lowest = min(looks, key=lambda figure: figure.value)
    return name, images, looks[0].plain(), lowest.plain(), steps[-1].auroc.plain()
