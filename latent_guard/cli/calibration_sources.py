"""Where the images of ``concepts calibrate`` and ``test`` come from: a record, folders of pictures, or a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from latent_guard.errors import InputError
from latent_guard.terminal import note

if TYPE_CHECKING:
    from latent_guard.concepts.calibration_set import CalibrationSet

_OF_GENERATION = ("images", "steps", "policy", "benign", "unsafe")
_OF_PICTURES = ("benign_images", "unsafe_images")
_IDLE_BESIDE_A_RECORD = ("images", "steps", "policy", "model", "guard", "benign", "unsafe", *_OF_PICTURES)


@dataclass(frozen=True)
class Sources:
    """The options that say which images are seen, and with which models."""

    context: typer.Context
    bank: Path
    images: int
    steps: int
    policy: str | None
    model: str | None
    guard: str | None
    benign: Path | None
    unsafe: Path | None
    benign_images: Path | None
    unsafe_images: Sequence[str]
    record: Path | None

    @property
    def only_benign(self) -> bool:
        """Whether nothing unsafe is going to be seen."""
        from_prompts = self.benign is not None and self.unsafe is None
        from_pictures = self.benign_images is not None and not self.unsafe_images
        return not self._recorded and (from_prompts or from_pictures)

    @property
    def generates(self) -> bool:
        """Whether a pipeline is going to draw the images."""
        return not self._recorded and self.benign_images is None and not self.unsafe_images

    def seen(self, stream: str) -> CalibrationSet:
        """The recorded calibration set, or a new one.

        Raises:
            InputError: options that do not go together; and what reading or generating images raises.
        """
        from latent_guard.concepts.calibration_set import CalibrationSet

        if self.record is not None and self._recorded:
            if ignored := self._given(_IDLE_BESIDE_A_RECORD):
                note(f"{self.record} is there and used as it is: {', '.join(ignored)} not looked at")
            return CalibrationSet.load(self.record)
        seen = self._generated(stream) if self.generates else self._of_pictures()
        if self.record is None:
            return seen
        seen.save(self.record)
        return CalibrationSet.load(self.record)  # in half precision: the record will give the same bank again

    @property
    def _recorded(self) -> bool:
        return self.record is not None and self.record.exists()

    def _of_pictures(self) -> CalibrationSet:
        from latent_guard.guidance.calibration_pictures import LabelledPictures, calibration_set_of_pictures
        from latent_guard.loading import load_guard, load_vae

        if given := self._given(_OF_GENERATION):
            raise InputError(f"{given[0]} is for images that are generated; leave it out, or --benign-images")
        if self.benign_images is None or not self.benign_images.is_dir():
            wrong = (
                f"--benign-images {self.benign_images} is no folder" if self.benign_images else "--unsafe-images alone"
            )
            raise InputError(f"{wrong}: calibration needs a folder of harmless pictures, named with --benign-images")
        shown = tuple(category_and_folder(entry, "--unsafe-images") for entry in self.unsafe_images)
        guard = load_guard(self.model, self.guard, self.bank)
        pictures = LabelledPictures(self.benign_images, shown)
        return calibration_set_of_pictures(guard, load_vae(self.model), pictures, _called(self.model))

    def _generated(self, stream: str) -> CalibrationSet:
        from latent_guard.cli.calibration_images import (
            Schedule,
            generate_calibration_set,
            labelled_prompts_of_files,
            labelled_prompts_of_shipped_world,
        )
        from latent_guard.loading import load_guard

        if self.benign is None and (self.model is not None or self.unsafe is not None):
            raise InputError(
                "a model or unsafe prompts of your own need benign prompts too; give them with --benign FILE.csv"
            )
        if self.benign is None:
            labelled = labelled_prompts_of_shipped_world(stream, self.images)
        else:
            labelled = labelled_prompts_of_files(stream, self.benign, self.unsafe, self.images)
        guard = load_guard(self.model, self.guard, self.bank, self.policy)
        return generate_calibration_set(self.model, guard, labelled, Schedule(self.steps, guard.policies))

    def _given(self, names: Sequence[str]) -> list[str]:
        """Those of the options that were given on the command line."""
        sources = {name: self.context.get_parameter_source(name) for name in names}
        given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
        return [f"--{name.replace('_', '-')}" for name in given]


def _called(model: str | None) -> str:
    """A model's name for records, which others may read: of what lies here not where."""
    if model is None:
        return "the shipped model"
    return Path(model).name if Path(model).exists() else model


def category_and_folder(entry: str, option: str) -> tuple[str, Path]:
    """The two halves of CATEGORY=FOLDER.

    Raises:
        InputError: it is something else, or there is no such folder.
    """
    category, equals, folder = entry.partition("=")
    if not equals or not category.strip() or not Path(folder).is_dir():
        raise InputError(f"{option} {entry} is not CATEGORY=FOLDER with a folder that exists")
    return category.strip(), Path(folder)
