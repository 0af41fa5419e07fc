"""The two rounds of tuning: on unguarded generations, and then also on such as were pushed after the first round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.fitting.pushed import pushes_by
from latent_guard.fitting.record import Recording
from latent_guard.fitting.roles import Role
from latent_guard.fitting.soup import averaged
from latent_guard.fitting.teaching import Teaching
from latent_guard.fitting.tune import Lesson, TuneSettings, tune
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_files import CONFIG
from latent_guard.pipelines.step import Perturb

ROUNDS = 2


@dataclass(frozen=True)
class Rounds:
    """Tuning under way; each round's model is kept in ``folder``, and made once.

    Attributes:
        base: the Latent-CLIP to start from.
        prompt_sets: concepts in words, by which generations are pushed.
        teaching: says what finished images show, and has the generations.
        settings: schedule of each round.
        folder: where models and checkpoints go.
    """

    base: LatentCLIP
    prompt_sets: Sequence[PromptSet]
    teaching: Teaching
    settings: TuneSettings
    folder: Path

    @cached_property
    def model(self) -> LatentCLIP:
        """The tuned Latent-CLIP: the average of the base and both rounds, each of which starts from the base."""
        first = self._tuned("first", lambda: [self._unguarded])

        def both() -> list[Lesson]:
            pushed = self._pushed_by(averaged(self.base, first))
            return [self._unguarded, self.teaching.lesson(pushed, ", pushed")]

        return averaged(self.base, first, self._tuned("second", both))

    @cached_property
    def _unguarded(self) -> Lesson:
        return self.teaching.lesson(self.teaching.generations.of(Role.TUNE))

    def _tuned(self, name: str, lessons: Callable[[], Sequence[Lesson]]) -> LatentCLIP:
        folder = self.folder / name
        clip = folder / "latent-clip"
        if not (clip / CONFIG).is_file():
            sharpness = self.teaching.sharpness
            tuned = tune(self.base, lessons(), self.teaching.texts, folder, self.settings, sharpness)
            tuned.save_pretrained(clip)
        return LatentCLIP.from_pretrained(clip, device=str(self.base.logit_scale.device))

    def _pushed_by(self, model: LatentCLIP) -> Recording:
        generations = self.teaching.generations
        bank = ConceptBank.build(model, self.prompt_sets)

        def pushes(start: int) -> Perturb:
            return pushes_by(model, bank, generations.latents.space, self.settings.seed + start)

        return generations.pushed(pushes)
