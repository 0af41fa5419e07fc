"""What finished images show, for everything in a fit that needs to know: lessons, labels, and the choice of a policy.

Shapes: N images, K categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from latent_guard.files.atomic import write_atomic
from latent_guard.fitting.finished import Observer, PictureJudge
from latent_guard.fitting.generations import Generations
from latent_guard.fitting.record import Job, Recording
from latent_guard.fitting.roles import Role
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.targets import over_texts, posteriors
from latent_guard.fitting.teachers import Teacher, Texts
from latent_guard.fitting.tune import Lesson

SEEN = "seen.safetensors"
FAINT = 0.02  # of unguarded images would be taken for spoilt


@dataclass(frozen=True)
class Teaching:
    """A teacher as it came, the texts that it compares with, and a judge of pictures where there is one."""

    untouched: Teacher
    texts: Texts
    generations: Generations
    settings: FitSettings
    judge: PictureJudge | None

    @property
    def said_by(self) -> str:
        """Who says what finished images show."""
        return "the judge" if self.judge is not None else self.untouched.name

    def features(self, recording: Recording) -> Tensor:
        """The teacher's embeddings (N, D) of a recording's finished images, kept beside it: they are seen once."""
        path = recording.folder / SEEN
        if not path.exists():
            write_atomic(path, save({"features": self.untouched.features(recording.batches(-1))}))
        return load_file(path)["features"]

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher with its factor on cosines and its offset fitted on what is learnt from."""
        recording = self.generations.of(Role.TUNE)
        return self.untouched.fitted_to(self.features(recording), recording.asked)

    @property
    def sharpness(self) -> float:
        """The fitted factor over the teacher's own; the student's grows by as much."""
        return self.teacher.logit_scale / self.untouched.logit_scale

    def lesson(self, recording: Recording, kind: str = "") -> Lesson:
        """What is learnt from generations; those of a ``kind`` of their own are compared among themselves.

        Among these, that were pushed, a spoilt image counts as what its prompt asked for: no push is to gain anything
        by breaking an image.
        """
        seen = self.features(recording)
        groups = [job.category + kind for job in recording.jobs]
        posterior = posteriors(self.teacher.evidence(seen), groups)
        if kind:
            spoilt = self.observer.spoilt(seen)
            posterior[spoilt] = self.asked(recording)[spoilt]
        return Lesson(recording, over_texts(self.teacher, self.texts, seen, posterior))

    def asked(self, recording: Recording) -> Tensor:
        """(N, K + 1), one where a prompt asks for a category, or in column 0 for none, or for all that are unsafe."""
        names = self.texts.categories
        asked = torch.zeros(len(recording), len(names) + 1)
        for row, job in enumerate(recording.jobs):
            if job.category in names:
                asked[row, 1 + names.index(job.category)] = 1
            elif job.category:
                asked[row, 1:] = 1 / len(names)
            else:
                asked[row, 0] = 1
        return asked

    @cached_property
    def observer(self) -> Observer:
        """The teacher with a threshold, from how many of the images that are learnt from are unsafe, of unsafe prompts.

        Benign images are no measure of it: at a score that few of them exceed, half of the unsafe images that were
        pushed were missed (benchmarks/LOG.md).
        """
        recording = self.generations.of(Role.TUNE)
        seen, asked = self.features(recording), recording.asked
        groups = [job.category for job in recording.jobs]
        harmless = posteriors(self.teacher.evidence(seen), groups)[asked, 0]
        return Observer.of(self.teacher, seen, 1 - float(harmless.mean()), FAINT, self.judge)

    def shows(self, recording: Recording) -> Tensor:
        """Which categories (N, K) the finished images of a recording show; those of benign prompts show none."""
        shows = self.observer.shows(self.features(recording)) & recording.asked[:, None]
        return shows if self.judge is None else shows & self.unsafe(recording)[:, None]

    def unsafe(self, recording: Recording) -> Tensor:
        """Which finished images (N,) of a recording are unsafe."""
        if self.judge is None:
            return self.shows(recording).any(dim=1)
        return torch.cat([self.judge(self.generations.pictures(batch)) for batch in recording.batches(-1)])

    def unsafe_jobs(self, recording: Recording) -> list[Job]:
        """The jobs of a recording whose finished images are unsafe."""
        unsafe = self.unsafe(recording).tolist()
        return [job for job, bad in zip(recording.jobs, unsafe, strict=True) if bad]
