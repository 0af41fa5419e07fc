"""A guard for a user's own pipeline: recorded, tuned, calibrated, its policy chosen, and verified.

Every stage leaves its result in a working folder beside the guard's, and is skipped where that lies there: a fit that
was killed goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.bank_files import CONTENT
from latent_guard.concepts.calibration_set import CalibrationSet, identity_of_images
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.sources import prompt_sets_of
from latent_guard.devices import best_device
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.fitted_guards import place_of
from latent_guard.fitting.base import base_for
from latent_guard.fitting.finished import Observer, PictureJudge
from latent_guard.fitting.generations import Generations
from latent_guard.fitting.page import html_page
from latent_guard.fitting.prompts import FitPrompts, fit_prompts
from latent_guard.fitting.pushed import pushes_by
from latent_guard.fitting.pushes import Choice, choose_policy
from latent_guard.fitting.record import Recording
from latent_guard.fitting.roles import Role
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.targets import over_texts, posteriors
from latent_guard.fitting.teachers import Teacher, Texts
from latent_guard.fitting.thresholds import calibrated_bank, calibration_set
from latent_guard.fitting.tune import Lesson, TuneSettings, tune
from latent_guard.fitting.verify import Verification, verify
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.guard_card import guard_card
from latent_guard.guidance.policy import SAFE, Policies, Policy
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.step import Perturb
from latent_guard.zero_shot.pixel_clip import PixelCLIP

WORK = ".fitting"  # ends the name of the working folder
OBSERVED_RATE = 0.02  # of benign finished images that a teacher takes for unsafe; the fit's own, where that is more
POLICY, POLICY_NAME = "policy.json", "fitted"
CAPTIONS = 2000  # everyday prompts that are texts to compare with
SHOWN = 24  # guarded images on the page


@dataclass(frozen=True)
class Fit:
    """A fit under way.

    Attributes:
        pipe: the user's pipeline, of diffusers.
        settings: of the fit.
        out: the guard's folder.
        base: the Latent-CLIP to start from.
        prompt_sets: concepts in words.
        prompts: what to generate.
        pixel_clip: the teacher, where it is one on pixels.
        judge: says what pictures are unsafe, where it is not the teacher.
        tuning: schedule of each round of tuning.
    """

    pipe: Any
    settings: FitSettings
    out: Path
    base: LatentCLIP
    prompt_sets: Sequence[PromptSet]
    prompts: FitPrompts
    pixel_clip: PixelCLIP | None = None
    judge: PictureJudge | None = None
    tuning: TuneSettings = field(default_factory=TuneSettings)

    @classmethod
    def of(
        cls,
        pipe: Any,
        settings: FitSettings,
        out: Path | None = None,
        pixel_clip: PixelCLIP | None = None,
        judge: PictureJudge | None = None,
    ) -> Fit:
        """Everything loaded and checked, nothing generated yet; arguments and errors as ``fit``."""
        prompt_sets = [one for source in settings.concepts for one in prompt_sets_of(source)]
        prompts = fit_prompts(prompt_sets, settings.benign, settings.unsafe)
        base = base_for(pipe, settings.latent_clip, best_device())
        place = place_of(settings.model) if out is None else out
        return cls(pipe, settings, place, base, prompt_sets, prompts, pixel_clip, judge)

    @property
    def work(self) -> Path:
        """The working folder."""
        return self.out.with_name(self.out.name + WORK)

    def run(self) -> tuple[LatentGuard, Verification]:
        """Make the guard, save it as one folder, and say what it was measured to do.

        Raises:
            InputError: the settings, prompts or folders cannot be used, or the disk is full.
            UnsupportedPipelineError: the pipeline cannot be guarded.
        """
        self.generations.latents  # noqa: B018  what cannot be guarded is told before anything is made
        self.settings.claim(self.work)
        policy = self.policy
        guard = self.guard_with(self.bank, policy)
        verification = self.verification(guard, policy)
        guard.fitted_for = FittedFor.of(self.pipe, self.settings.model, self.settings.arguments, policy.window)
        guard.documents = self.documents(guard, verification)
        guard.save_pretrained(self.out)
        return guard, verification

    @cached_property
    def generations(self) -> Generations:
        """What the pipeline makes, unguarded."""
        return Generations(self.pipe, self.settings, self.prompts, self.work / "recordings")

    @cached_property
    def texts(self) -> Texts:
        """What images are compared with: the bank's words, and everyday captions."""
        return Texts.of(self.prompt_sets, self.prompts.benign[:CAPTIONS])

    @cached_property
    def teacher(self) -> Teacher:
        """Who has seen the finished images."""
        if self.pixel_clip is not None:
            return Teacher.pixel(self.pixel_clip, self.pipe.vae, self.texts)
        return Teacher.latent(self.base, self.pipe.vae, self.texts)

    @cached_property
    def learnt_from(self) -> tuple[Recording, Tensor]:
        """The unguarded generations that are learnt from, and the teacher's embeddings (N, D) of their images."""
        recording = self.generations.of(Role.TUNE)
        return recording, self.teacher.features(recording.batches(-1))

    @cached_property
    def first_lesson(self) -> Lesson:
        """What is learnt from unguarded generations."""
        recording, seen = self.learnt_from
        groups = [job.category for job in recording.jobs]
        return Lesson(recording, self._wanted(seen, posteriors(self.teacher.reference.scores(seen), groups)))

    def _wanted(self, seen: Tensor, posterior: Tensor) -> Tensor:
        return over_texts(self.teacher, self.texts, seen, posterior)

    @cached_property
    def observer(self) -> Observer:
        """The teacher with a threshold, set on its benign finished images."""
        recording, seen = self.learnt_from
        benign = torch.tensor([not job.category for job in recording.jobs])
        return Observer.of(self.teacher, seen[benign], max(OBSERVED_RATE, self.settings.rate), self.judge)

    @cached_property
    def model(self) -> LatentCLIP:
        """The tuned Latent-CLIP: first on unguarded generations, then also on such as the first pushed."""
        first = self._tuned("first", self.base, [self.first_lesson])
        return self._tuned("second", first, [self.first_lesson, self._pushed_lesson(first)])

    def _tuned(self, name: str, start: LatentCLIP, lessons: Sequence[Lesson]) -> LatentCLIP:
        folder = self.work / "tuning" / name
        clip = folder / "latent-clip"
        if not clip.is_dir():
            settings = replace(self.tuning, seed=self.settings.seed)
            tune(start, lessons, self.texts, folder, settings).save_pretrained(clip)
        return LatentCLIP.from_pretrained(clip, device=str(self.base.logit_scale.device))

    def _pushed_lesson(self, first: LatentCLIP) -> Lesson:
        bank = ConceptBank.build(first, self.prompt_sets)
        space = self.generations.latents.space

        def pushes(start: int) -> Perturb:
            return pushes_by(first, bank, space, self.settings.seed + start)

        recording = self.generations.pushed(pushes)
        seen = self.teacher.features(recording.batches(-1))
        # Pushed images of one prompt differ in what the pushes did to them: they are a group of their own.
        groups = [f"{job.category}, pushed" for job in recording.jobs]
        return Lesson(recording, self._wanted(seen, posteriors(self.teacher.reference.scores(seen), groups)))

    @cached_property
    def bank(self) -> ConceptBank:
        """The bank, for the policy that was chosen; made once."""
        folder = self.work / "bank"
        if not (folder / CONTENT).is_file():
            self.bank_for(self.policy).save(folder)
        return ConceptBank.load(folder)

    def bank_for(self, policy: Policy) -> ConceptBank:
        """The bank, its thresholds set for the looks of a policy's window."""
        high, low = policy.window
        images = self._calibration_images
        levels = images.noise_levels
        looks = ((levels <= high) & (levels >= low)) | (levels == 0)
        images = replace(images, features=images.features[:, looks], noise_levels=levels[looks])
        return calibrated_bank(self.model, self.prompt_sets, [images], self.settings.rate)

    @cached_property
    def _calibration_images(self) -> CalibrationSet:
        recording = self.generations.of(Role.CALIBRATE)
        shows = self.shows(recording)
        asked = torch.tensor([bool(job.category) for job in recording.jobs])
        shows[~asked] = False  # benign prompts are what the rate is promised for, whatever they show
        kept = ~asked | shows.any(dim=1)  # and a risky one that shows nothing says nothing
        settings = self.settings
        images = calibration_set(
            self.model,
            ConceptBank.build(self.model, self.prompt_sets),
            recording,
            shows,
            self.texts.categories,
            f"{settings.model}, generations of {settings.images} images of a fit, labelled by {self.said_by}",
            identity_of_images(
                settings.model, [(job.prompt, job.seed) for job in recording.jobs], dict(settings.arguments)
            ),
        )
        return images.rows(kept)

    def shows(self, recording: Recording) -> Tensor:
        """Which categories (N, K) the finished images of a recording show, in the eyes of the observer."""
        shows = self.observer.shows(self.teacher.features(recording.batches(-1)))
        if self.judge is None:
            return shows
        return shows & self.unsafe(recording)[:, None]

    def unsafe(self, recording: Recording) -> Tensor:
        """Which finished images (N,) of a recording are unsafe."""
        if self.judge is None:
            return self.shows(recording).any(dim=1)
        return torch.cat([self.judge(self.generations.pictures(batch)) for batch in recording.batches(-1)])

    @cached_property
    def policy(self) -> Policy:
        """The policy, chosen on dev prompts; chosen once."""
        path = self.work / POLICY
        if not path.exists():
            recording = self.generations.of(Role.DEV)
            unsafe = self.unsafe(recording).tolist()
            jobs = [job for job, bad in zip(recording.jobs, unsafe, strict=True) if bad]
            if len(jobs) < 2:
                raise InputError(
                    f"of {len(recording)} images of unsafe prompts {len(jobs)} are unsafe, by {self.said_by}: there is "
                    "nothing to choose a policy on; give prompts that ask for more with --unsafe, or more --images"
                )
            guard = self.guard_with(self.bank_for(SAFE), SAFE)
            choice = choose_policy(guard, self.pipe, jobs, self.observer, self.settings.arguments)
            write_atomic(path, (json.dumps(choice.to_dict(), indent=1) + "\n").encode())
        return Choice.load(path).policy

    def guard_with(self, bank: ConceptBank, policy: Policy) -> LatentGuard:
        """The guard, not yet saved."""
        return LatentGuard(self.model, bank, Policies(POLICY_NAME, policy), self.canary)

    @cached_property
    def canary(self) -> Canary:
        """A picture that the pipeline made, with its latent by the pipeline's own VAE."""
        finals = self.learnt_from[0].batches(-1)[0][:1]
        return Canary.made_by(self.pipe.vae, self.generations.pictures(finals)[0])

    def verification(self, guard: LatentGuard, policy: Policy) -> Verification:
        """What the guard does on fresh prompts and seeds; measured once."""
        path = self.work / "verification.json"
        if not path.exists():
            recording = self.generations.of(Role.VERIFY)
            unsafe = self.unsafe(recording)
            measured, guarded = verify(
                guard, self.pipe, recording, unsafe, policy, self.observer, self.settings.arguments, self.said_by
            )
            page = html_page(
                self.settings.model,
                measured,
                Choice.load(self.work / POLICY).trials,
                guarded.pictures[:SHOWN],
                [verdict.decision.value for verdict in guarded.verdicts[:SHOWN]],
            )
            write_atomic(self.work / "report.html", page.encode())
            write_atomic(path, (json.dumps(measured.to_dict(), indent=1) + "\n").encode())
        return Verification.load(path)

    @property
    def said_by(self) -> str:
        """Who says what finished images show."""
        return "the judge" if self.judge is not None else self.teacher.name

    def documents(self, guard: LatentGuard, verification: Verification) -> dict[str, str]:
        """What the guard's folder holds for people, by file name."""
        card = guard_card(self.settings.model, guard.fitted_for, guard.bank, guard.policies, verification.rows())
        return {
            "README.md": card,
            "report.json": json.dumps(verification.to_dict(), indent=1) + "\n",
            "report.html": (self.work / "report.html").read_text(encoding="utf-8"),
        }


def fit(
    pipe: Any,
    settings: FitSettings,
    out: Path | None = None,
    pixel_clip: PixelCLIP | None = None,
    judge: PictureJudge | None = None,
) -> tuple[LatentGuard, Verification]:
    """Fit a guard to a pipeline: what ``latent-guard fit`` does, for a pipeline that is loaded already.

    Args:
        pipe: of diffusers; it is called with ``settings.arguments``.
        settings: of the fit.
        out: the guard's folder, by default that of the pipeline in the user's data.
        pixel_clip: the CLIP on pixels to learn from; by default the untouched Latent-CLIP teaches.
        judge: says which pictures are unsafe; by default the teacher does.

    Returns:
        The guard, which is saved, and what was measured.

    Raises:
        InputError: the settings, prompts or folders cannot be used, or the disk is full.
        CheckpointError: the Latent-CLIP is missing or damaged.
        UnsupportedPipelineError: the pipeline cannot be guarded.
    """
    return Fit.of(pipe, settings, out, pixel_clip, judge).run()
