"""The embedded worlds as the benchmark knows them: the one door of the general harness to ``latent_guard.worlds``."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from latent_guard.package_data import SHIPPED, SHIPPED_FEW_STEP, SHIPPED_FLOW

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from latent_guard.guidance.recording import LabelledPrompts
    from latent_guard.latent_clip.model import LatentCLIP


class ObjectClassifier(Protocol):
    """A world's classifier of its objects, and what the world knows of its own prompts.

    ``categories`` has one entry for each of ``names``: ``"safe"``, or the category that the object is unsafe in.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def categories(self) -> tuple[str, ...]: ...

    @property
    def thresholds(self) -> Tensor: ...

    def probabilities(self, pictures: Tensor) -> Tensor:
        """Images (N, 3, 64, 64) uint8 -> each object's probability, (N, K)."""
        ...

    def satisfied(self, cells: Sequence[Mapping[str, str]], pictures: Tensor, present: Tensor) -> list[bool | None]:
        """Whether each image shows what the cells of its prompt ask for; None where the world does not know."""
        ...


class World(Protocol):
    """Everything that the harness asks of a world: its models, its prompt lists, and who labels and grades."""

    def bundle(self) -> Path:
        """The folder of its models: ``pipeline/``, ``guard/``, ``bank/``, ``pixel_twin/``, ``judge/``, ``labeller/``.

        Raises:
            CheckpointError: a file is missing or altered.
        """
        ...

    def weights(self, model: str) -> Path:
        """The folder, with its manifest, of what is a shipped model's own; raises as ``bundle``."""
        ...

    def pipeline(self, model: str) -> Path:
        """The folder of a shipped model's pipeline, of which it may replace parts; raises as ``bundle``."""
        ...

    def parts(self, model: str, dtype: torch.dtype) -> dict[str, Any]:
        """What of its pipeline a shipped model replaces or lacks, for ``from_pretrained``; raises as ``bundle``."""
        ...

    def usual_arguments(self, model: str) -> dict[str, Any]:
        """Call arguments that a model that ships wants other than diffusers' defaults."""
        ...

    def prompt_file(self, name: str) -> Path:
        """The list of this name, which need not exist."""
        ...

    def vocabulary(self) -> frozenset[str]:
        """Every word of its prompt lists, in lower case."""
        ...

    def judge(self, folder: Path | None = None) -> ObjectClassifier:
        """The classifier that grades reported images and tunes nothing; ``folder``: another one than ships.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        ...

    def grader(self, device: str) -> LatentCLIP:
        """The CLIP on pixels that grades quality, which shares nothing with any other model; raises as ``judge``."""
        ...

    def labelled_prompts(self, bundle: Path, stream: str, images: int) -> LabelledPrompts:
        """``images`` benign prompts and a quarter as many unsafe ones, labelled by the labeller, never by the judge."""
        ...

    def pixel_draws(self) -> Path:
        """The folder of what the pixel CLIP saw of the bank's calibration draws; raises as ``bundle``."""
        ...


class EmojiWorld:
    """Scenes of Noto Color Emoji (``latent_guard.worlds.emoji``)."""

    def bundle(self) -> Path:
        from latent_guard.worlds.emoji.bundle import bundle_folder

        return bundle_folder()

    def weights(self, model: str) -> Path:
        from latent_guard.worlds.emoji.bundle import few_step_folder, flow_folder

        if model == SHIPPED_FEW_STEP:
            return few_step_folder()
        return flow_folder() if model == SHIPPED_FLOW else self.bundle()

    def pipeline(self, model: str) -> Path:
        return self.weights(SHIPPED_FLOW if model == SHIPPED_FLOW else SHIPPED) / "pipeline"

    def parts(self, model: str, dtype: torch.dtype) -> dict[str, Any]:
        from latent_guard.pipelines.config_limits import absent_parts
        from latent_guard.worlds.emoji.few_step import few_step_parts

        if model == SHIPPED_FEW_STEP:
            return few_step_parts(self.weights(model), dtype)
        return absent_parts(self.pipeline(model))

    def usual_arguments(self, model: str) -> dict[str, Any]:
        from latent_guard.worlds.emoji.arguments import ARGUMENTS, FEW_STEP_ARGUMENTS, FLOW_ARGUMENTS

        return dict({SHIPPED_FEW_STEP: FEW_STEP_ARGUMENTS, SHIPPED_FLOW: FLOW_ARGUMENTS}.get(model, ARGUMENTS))

    def prompt_file(self, name: str) -> Path:
        from latent_guard.worlds.emoji.prompts import PROMPTS

        return PROMPTS / f"{name}.csv"

    def vocabulary(self) -> frozenset[str]:
        from latent_guard.worlds.emoji.prompts import PROMPTS

        words: set[str] = set()
        for path in PROMPTS.rglob("*.csv"):
            with open(path, newline="", encoding="utf-8") as file:
                words.update(word for row in csv.DictReader(file) for word in words_of(row["prompt"]))
        return frozenset(words)

    def judge(self, folder: Path | None = None) -> ObjectClassifier:
        from latent_guard.worlds.emoji.classifiers import EmojiClassifier

        return EmojiClassifier.load(self.bundle() / "judge" if folder is None else folder)

    def grader(self, device: str) -> LatentCLIP:
        from latent_guard.latent_clip.model import LatentCLIP
        from latent_guard.worlds.emoji.bundle import grader_folder

        return LatentCLIP.from_pretrained(grader_folder(), device=device)

    def labelled_prompts(self, bundle: Path, stream: str, images: int) -> LabelledPrompts:
        from latent_guard.worlds.emoji.classifiers import EmojiClassifier
        from latent_guard.worlds.emoji.labelled_prompts import labelled_prompts

        return labelled_prompts(EmojiClassifier.load(bundle / "labeller"), stream, images)

    def pixel_draws(self) -> Path:
        from latent_guard.worlds.emoji.bundle import pixel_draws_folder

        return pixel_draws_folder()


def words_of(prompt: str) -> frozenset[str]:
    """The words of a prompt, in lower case."""
    return frozenset(re.findall(r"\w+", prompt.lower()))


WORLDS: Mapping[str, World] = {"emoji": EmojiWorld()}  # by what the names of their prompt lists begin with
SHIPPED_WORLD = WORLDS["emoji"]  # the one whose pipelines ship with the package
