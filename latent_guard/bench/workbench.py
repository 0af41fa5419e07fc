"""What the rows of the world's benchmark share: its models, its prompt lists, and arms that are generated once."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latent_guard.bench.generate import BATCH, generate, jobs_for
from latent_guard.bench.judge import Bools, EmojiJudge, Judge, sees_unsafe, shows
from latent_guard.bench.prompts import PromptRow, read_prompts
from latent_guard.bench.provenance import manifest_hash
from latent_guard.bench.recordings import Recording, recording_of
from latent_guard.bench.records import Records
from latent_guard.guidance.policy_file import policy_named
from latent_guard.guidance.verdict import Decision
from latent_guard.worlds.emoji.prompts import PROMPTS, STEPS

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.worlds.emoji.classifiers import EmojiClassifier

RENDER_SEED = 20_262_026  # of every rendered test scene; no training stage uses it


@dataclass(frozen=True)
class Settings:
    """``images`` a generated arm, ``renders`` a rendered one, ``drawn`` benign prompts to calibrate or test a bank on.

    ``split`` is ``dev`` for tuning, ``test`` once frozen.
    """

    images: int = 600
    renders: int = 2000
    drawn: int = 2000
    steps: int = STEPS
    batch_size: int = BATCH
    split: str = "test"


FULL, QUICK = Settings(), Settings(images=100, renders=500, drawn=1000)


@dataclass(frozen=True, eq=False)
class Graded:
    """An arm's records with its prompts and what the judge sees: (N, K), nothing in a blocked image."""

    rows: list[PromptRow]
    records: Records
    present: Bools
    judge: Judge

    @property
    def prompts(self) -> list[PromptRow]:
        """The prompt of each of the N images."""
        return [self.rows[index] for index in self.records.prompt_index]

    @property
    def groups(self) -> NDArray[np.int64]:
        return self.records.prompt_index

    @property
    def unsafe(self) -> Bools:
        """(N,): an unsafe object is shown."""
        return sees_unsafe(self.judge, self.present)

    @property
    def blocked(self) -> Bools:
        return self.records.decided(Decision.BLOCKED)

    @property
    def found(self) -> Bools:
        """(N,): all objects that an explicit prompt names, or for a setting any of its safe members."""
        return np.array([shows(self.judge, row, seen) for row, seen in zip(self.prompts, self.present, strict=True)])


class Workbench:
    """Loads each model of a bundle when a row first asks for it, and each arm from ``folder`` if it lies there."""

    def __init__(self, bundle: Path, folder: Path, settings: Settings) -> None:
        self.bundle, self.folder, self.settings = bundle, folder, settings
        self._recordings: dict[str, Recording] = {}

    @cached_property
    def device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def pipe(self) -> Any:
        import torch
        from diffusers import StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained(self.bundle / "pipeline", torch_dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(self.device)

    @cached_property
    def guard(self) -> LatentGuard:
        from latent_guard.guidance.guard import LatentGuard

        return LatentGuard.from_pretrained(self.bundle / "guard", bank=self.bundle / "bank", device=self.device)

    @cached_property
    def clean_model(self) -> LatentCLIP:
        """The guard's Latent-CLIP before it was trained on clean estimates."""
        from latent_guard.latent_clip.model import LatentCLIP

        return LatentCLIP.from_pretrained(self.bundle / "clean", device=self.device)

    @cached_property
    def twin(self) -> LatentCLIP:
        from latent_guard.latent_clip.model import LatentCLIP

        return LatentCLIP.from_pretrained(self.bundle / "pixel_twin", device=self.device)

    @cached_property
    def judge(self) -> EmojiJudge:
        return EmojiJudge.load(self.bundle / "judge")

    @cached_property
    def labeller(self) -> EmojiClassifier:
        """The other classifier, for attackers and tuning; it grades nothing."""
        from latent_guard.worlds.emoji.classifiers import EmojiClassifier

        return EmojiClassifier.load(self.bundle / "labeller")

    def arm(self, kind: str, policy: str | None = None) -> Graded:
        """The images of a prompt list (``risky``, ...), guarded by a named policy or not at all."""
        path = PROMPTS / f"{self.settings.split}_{kind}.csv"
        rows = read_prompts(path)
        chosen = policy_named(policy) if policy else None
        key = {
            "prompts": hashlib.sha256(path.read_bytes()).hexdigest(),
            "policy": {**asdict(chosen), "code": _guidance_code()} if chosen else None,
            **self.key,
        }
        file = self.folder / f"{self.settings.split}-{kind}-{policy or 'unguarded'}.npz"
        records = Records.load(file, key)
        if records is None:
            records = self._generate(rows, self.guard if policy else None, chosen)
            records.save(file, key)
        present = self.judge.present(records.images) & ~records.decided(Decision.BLOCKED)[:, None]
        return Graded(rows, records, present, self.judge)

    def recording(self, kind: str) -> Recording:
        """Unguarded generations of a prompt list with the scores of every look."""
        if kind not in self._recordings:
            self._recordings[kind] = recording_of(self, kind)
        return self._recordings[kind]

    @cached_property
    def key(self) -> dict[str, Any]:
        """What the figures depend on, beside the code."""
        return {"bundle": manifest_hash(self.bundle), "settings": asdict(self.settings)}

    def _generate(self, rows: list[PromptRow], guard: Any, policy: Any) -> Records:
        return generate(
            self.pipe,
            jobs_for(rows, self.settings.images),
            steps=self.settings.steps,
            guard=guard,
            policy=policy,
            batch_size=self.settings.batch_size,
        )


def _guidance_code() -> str:
    """SHA-256 over the guard's source: a guarded arm of older code is not today's."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parents[1] / "guidance").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
