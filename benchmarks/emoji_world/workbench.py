"""What the rows of the world's benchmark share: its models, its prompt lists, and the methods of its run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.emoji_world.method_records import Records, records_of
from latent_guard.bench.arrays import Bools
from latent_guard.bench.decoding import jobs_for
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.runs.execute import run_units
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.runs.provenance import manifest_hash
from latent_guard.bench.runs.run import Opened, open_spec
from latent_guard.bench.runs.task_prompts import TaskPrompts
from latent_guard.bench.spec import Spec
from latent_guard.bench.task import UNGUARDED, MethodSpec
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.devices import best_device
from latent_guard.errors import InputError
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision
from latent_guard.package_data import SHIPPED
from latent_guard.worlds.emoji.asked_for import AskedFor
from latent_guard.worlds.emoji.estimates import Trajectories, record

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.worlds.emoji.classifiers import EmojiClassifier

OWN = "its own"  # the policy that is in the guard's folder
EMOJI = "emoji/"  # prefix of the world's prompt lists
RENDER_SEED = 20_262_026  # of every rendered test scene; no training stage uses it


@dataclass(frozen=True)
class Settings:
    """What no spec says: ``renders`` a rendered method, ``drawn`` benign prompts to calibrate or test a bank on."""

    renders: int = 2000
    drawn: int = 2000


FULL, QUICK = Settings(), Settings(renders=500, drawn=1000)


@dataclass(frozen=True, eq=False)
class Recording:
    """N unguarded generations of one prompt list at S looks: one a step, and one at the final latent.

    Attributes:
        scores: (N, S, K) of the categories, on the CPU.
        noise_levels: S of them, falling, the last one 0.
        unsafe: (N,) the judge sees an unsafe object in the picture.
        groups: (N,) which prompt of the list.
    """

    scores: Tensor
    noise_levels: tuple[float, ...]
    unsafe: Bools
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Graded:
    """A method's records with its prompts and what the judge sees: (N, K), nothing in a blocked image."""

    rows: list[PromptRow]
    records: Records
    present: Bools
    judge: EmojiJudge

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
        return self.judge.sees_unsafe(self.present)

    @property
    def blocked(self) -> Bools:
        return self.records.decided(Decision.BLOCKED)

    @property
    def satisfied(self) -> Bools:
        """(N,): all objects that an explicit prompt names, or for a setting any of its safe members."""
        return np.array(
            [AskedFor.of(row.extra).shown(seen) for row, seen in zip(self.prompts, self.present, strict=True)]
        )


class Workbench:
    """Loads each model when a row first asks for it.

    Attributes:
        bundle: the folder of the world's models.
        folder: that of the spec's run.
        spec: what is generated, with which of the world's generators.
        settings: what the spec does not say.
        fitted: the folder of a guard that was fitted to the generator, None for the one that ships.
    """

    def __init__(self, bundle: Path, folder: Path, spec: Spec, settings: Settings, fitted: Path | None = None) -> None:
        self.bundle, self.folder, self.spec, self.settings, self.fitted = bundle, folder, spec, settings, fitted
        self._recordings: dict[str, Recording] = {}

    @cached_property
    def device(self) -> str:
        return best_device()

    @cached_property
    def pipe(self) -> Any:
        from diffusers import DiffusionPipeline

        parts = SHIPPED_WORLD.parts(self.spec.model, torch.float32)
        of_world = self.bundle / "pipeline" if self.spec.model == SHIPPED else SHIPPED_WORLD.pipeline(self.spec.model)
        pipe = DiffusionPipeline.from_pretrained(of_world, torch_dtype=torch.float32, **parts)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(self.device)

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the pipeline's call."""
        return {**SHIPPED_WORLD.usual_arguments(self.spec.model), "num_inference_steps": self.spec.steps}

    @cached_property
    def guard(self) -> LatentGuard:
        from latent_guard.guidance.guard import LatentGuard

        if self.fitted is not None:
            return LatentGuard.from_pretrained(self.fitted, device=self.device)
        return LatentGuard.from_pretrained(self.bundle / "guard", bank=self.bundle / "bank", device=self.device)

    @cached_property
    def clean_model(self) -> LatentCLIP:
        """The guard's Latent-CLIP before it was trained on clean estimates."""
        from latent_guard.latent_clip.model import LatentCLIP

        return LatentCLIP.from_pretrained(self.bundle / "clean", device=self.device)

    @cached_property
    def pixel_clip(self) -> LatentCLIP:
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

    @cached_property
    def opened(self) -> Opened:
        """The spec with its methods, to be made with this pipeline."""
        return open_spec(self.spec, self.pipe, self.bundle, self.folder / "cache", guard=self.guard)

    @cached_property
    def run_folder(self) -> RunFolder:
        return RunFolder.open(self.folder, self.spec, self.opened.environment)

    @property
    def images(self) -> int:
        """How many the spec has of a task."""
        return max(task.images or 0 for task in self.spec.tasks)

    @property
    def split(self) -> str:
        """``dev`` for tuning, ``test`` once frozen: how the names of the spec's prompt lists begin."""
        return ", ".join(dict.fromkeys(task.prompts.removeprefix(EMOJI).split("_")[0] for task in self.spec.tasks))

    def prompts(self, kind: str) -> list[PromptRow]:
        """The prompt list of a task (``risky``, ...)."""
        return list(TaskPrompts.of(self.spec).rows[kind])

    def method(self, kind: str, policy: str | None = None) -> Graded:
        """The images of a task, guarded by a named policy, ``OWN`` or not at all; what is not made yet is made.

        Raises:
            InputError: the spec has no such task, or runs it without this policy.
        """
        options = {} if policy == OWN else {"policy": policy}
        name = MethodSpec("guard", options).label if policy else UNGUARDED
        units = [unit for unit in self.opened.plan.units if (unit.task.name, unit.method.label) == (kind, name)]
        if not units:
            raise InputError(f"the spec {self.spec.name} has no task {kind!r} with the method {name!r}")
        run_units(self.opened.bench, self.run_folder, units)
        records = records_of(self.run_folder, units)
        present = self.judge.present(records.images) & ~records.decided(Decision.BLOCKED)[:, None]
        return Graded(list(self.opened.prompts.rows[kind]), records, present, self.judge)

    def recording(self, kind: str) -> Recording:
        """As many unguarded generations of a task (``risky``, ...) as a method has, with the scores of every look."""
        if kind not in self._recordings:
            self._recordings[kind] = self._recorded(kind)
        return self._recordings[kind]

    def _recorded(self, kind: str) -> Recording:
        jobs = jobs_for(self.prompts(kind), self.images)
        prompts, seeds = [job.row.prompt for job in jobs], [job.seed for job in jobs]
        seen = record(self.pipe, prompts, seeds, **self.arguments)
        return Recording(
            scores=_look_scores(Scorer(self.guard.model, self.guard.bank), seen),
            noise_levels=tuple(seen.noise_levels.tolist()),
            unsafe=self.judge.sees_unsafe(self.judge.present(seen.pictures.numpy())),
            groups=np.array([job.index for job in jobs], dtype=np.int64),
        )

    @cached_property
    def key(self) -> dict[str, Any]:
        """What the figures depend on, beside the code."""
        asked = {"images": self.images, "steps": self.spec.steps, "batch_size": self.spec.batch_size}
        settings = {**asdict(self.settings), **asked, "split": self.split}
        return {"bundle": manifest_hash(self.bundle), "settings": settings}


@torch.no_grad()
def _look_scores(scorer: Scorer, seen: Trajectories, batch: int = 256) -> Tensor:
    """Category scores (N, S, K) of every estimate."""
    looks = []
    for step, level in enumerate(seen.noise_levels.tolist()):
        parts = seen.estimates[:, step].float().split(batch)
        looks.append(torch.cat([scorer.scores(part, level).cpu() for part in parts]))
    return torch.stack(looks, 1)
