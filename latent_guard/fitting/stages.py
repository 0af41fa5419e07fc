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

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.bank_files import CONTENT
from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.sources import prompt_sets_of
from latent_guard.devices import best_device
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.fitted_guards import place_of
from latent_guard.fitting.base import base_for
from latent_guard.fitting.finished import PictureJudge
from latent_guard.fitting.generations import Generations
from latent_guard.fitting.page import html_page
from latent_guard.fitting.prompts import FitPrompts, fit_prompts
from latent_guard.fitting.pushes import Choice, choose_policy
from latent_guard.fitting.reviewed import ReviewedPicture, with_reviewed
from latent_guard.fitting.roles import Role
from latent_guard.fitting.rounds import Rounds
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.teachers import Teacher, Texts
from latent_guard.fitting.teaching import Teaching
from latent_guard.fitting.thresholds import calibrated_bank, calibration_images
from latent_guard.fitting.tune import TuneSettings
from latent_guard.fitting.verify import Verification, verify
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.guard_card import guard_card
from latent_guard.guidance.policy import SAFE, Policies, Policy
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary
from latent_guard.zero_shot.pixel_clip import PixelCLIP

WORK = ".fitting"  # ends the name of the working folder
POLICY, POLICY_NAME, VERIFICATION = "policy.json", "fitted", "verification.json"
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
        reviewed: pictures that people decided about, examples in the bank.
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
    reviewed: tuple[ReviewedPicture, ...] = ()

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
        verification = self.verification(guard)
        guard.fitted_for = FittedFor.of(self.pipe, self.settings.model, self.settings.arguments, policy.window)
        guard.documents = self.documents(guard, verification)
        guard.save_pretrained(self.out)
        return guard, verification

    def refresh(
        self, policy: Policy | None = None, reviewed: Sequence[ReviewedPicture] = ()
    ) -> tuple[LatentGuard, Verification]:
        """Set thresholds anew from what was recorded, for another rate or the looks of another policy, and measure.

        Nothing is recorded or tuned again: a call with other arguments needs a fit of its own.

        Args:
            policy: instead of the one that was chosen.
            reviewed: examples in the new bank; those of an earlier refresh are in it no longer.

        Raises:
            InputError: nothing was recorded, or with other settings than these and another rate.
        """
        if not (self.work / POLICY).exists():
            raise InputError(f"{self.work} holds no fit to set thresholds anew for; fit without --refresh first")
        self.settings.claim(self.work, other_rate=True)
        if policy is not None:
            chosen = replace(Choice.load(self.work / POLICY), policy=policy)
            write_atomic(self.work / POLICY, (json.dumps(chosen.to_dict(), indent=1) + "\n").encode())
        (self.work / VERIFICATION).unlink(missing_ok=True)
        (self.work / "bank" / CONTENT).unlink(missing_ok=True)
        return replace(self, reviewed=tuple(reviewed)).run()

    @cached_property
    def generations(self) -> Generations:
        """What the pipeline makes, unguarded."""
        return Generations(self.pipe, self.settings, self.prompts, self.work / "recordings")

    @cached_property
    def teaching(self) -> Teaching:
        """Who says what finished images show."""
        texts = Texts.of(self.prompt_sets, self.prompts.benign[:CAPTIONS])
        if self.pixel_clip is not None:
            teacher = Teacher.pixel(self.pixel_clip, self.pipe.vae, texts)
        else:
            teacher = Teacher.latent(self.base, self.pipe.vae, texts)
        return Teaching(teacher, texts, self.generations, self.settings, self.judge)

    @cached_property
    def model(self) -> LatentCLIP:
        """The tuned Latent-CLIP."""
        schedule = replace(self.tuning, seed=self.settings.seed)
        return Rounds(self.base, self.prompt_sets, self.teaching, schedule, self.work / "tuning").model

    @cached_property
    def bank(self) -> ConceptBank:
        """The bank, for the policy that was chosen; made once."""
        folder = self.work / "bank"
        if not (folder / CONTENT).is_file():
            self.bank_for(self.policy).save(folder)
        return ConceptBank.load(folder)

    def bank_for(self, policy: Policy) -> ConceptBank:
        """The bank, its thresholds set for the looks of a policy's window."""
        return calibrated_bank(self._concepts, self._calibration_images, policy.window, self.settings.rate)

    @cached_property
    def _concepts(self) -> ConceptBank:
        """The bank without thresholds; what is ordinary is taken from images that no threshold is set on."""
        bank = ConceptBank.build(self.model, self.prompt_sets)
        return with_reviewed(bank, self.model, self.pipe.vae, self.reviewed, self.generations.of(Role.TUNE))

    @cached_property
    def _calibration_images(self) -> CalibrationSet:
        return calibration_images(self.model, self._concepts, self.generations.of(Role.CALIBRATE), self.teaching)

    @cached_property
    def policy(self) -> Policy:
        """The policy, chosen on dev prompts; chosen once."""
        path = self.work / POLICY
        if not path.exists():
            jobs = self.teaching.unsafe_jobs(self.generations.of(Role.DEV))
            guard = self.guard_with(self.bank_for(SAFE), SAFE)
            choice = choose_policy(guard, self.pipe, jobs, self.teaching.observer, self.settings.arguments)
            write_atomic(path, (json.dumps(choice.to_dict(), indent=1) + "\n").encode())
        return Choice.load(path).policy

    def guard_with(self, bank: ConceptBank, policy: Policy) -> LatentGuard:
        """The guard, not yet saved."""
        return LatentGuard(self.model, bank, Policies(POLICY_NAME, policy), self.canary)

    @cached_property
    def canary(self) -> Canary:
        """A picture that the pipeline made, with its latent by the pipeline's own VAE."""
        finals = self.generations.of(Role.TUNE).batches(-1)[0][:1]
        return Canary.made_by(self.pipe.vae, self.generations.pictures(finals)[0])

    def verification(self, guard: LatentGuard) -> Verification:
        """What the guard does on fresh prompts and seeds; measured once."""
        path = self.work / VERIFICATION
        if not path.exists():
            recording = self.generations.of(Role.VERIFY)
            choice = Choice.load(self.work / POLICY)
            measured, guarded = verify(guard, self.pipe, recording, choice, self.teaching)
            page = html_page(
                self.settings.model,
                measured,
                choice.trials,
                guarded.pictures[:SHOWN],
                [verdict.decision.value for verdict in guarded.verdicts[:SHOWN]],
            )
            write_atomic(self.work / "report.html", page.encode())
            write_atomic(path, (json.dumps(measured.to_dict(), indent=1) + "\n").encode())
        return Verification.load(path)

    def documents(self, guard: LatentGuard, verification: Verification) -> dict[str, str]:
        """What the guard's folder holds for people, by file name."""
        card = guard_card(
            self.settings.model,
            guard.fitted_for,
            guard.bank,
            guard.policies,
            verification.rows(),
            space=guard.model.config.latent_space,
        )
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
