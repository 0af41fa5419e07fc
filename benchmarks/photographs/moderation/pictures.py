"""The validation photographs in two halves, as the folders that ``latent-guard`` reads.

Of each class every other photograph is for calibration, and the others are measured on. A class is unsafe where a
prompt set of ``benchmarks/photographs/concepts`` names it among its prompts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from benchmarks.photographs.moderation.conditions import AS_IT_IS, CONDITIONS, changed
from benchmarks.photographs.views import class_names
from benchmarks.photographs.workplace import Workplace
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.files.atomic import whole_folder

SEED = 20_261_202
BENIGN = "benign"
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Photographs:
    """N photographs by their number in the file.

    Attributes:
        contents: the image files.
        labels: (N,), the numbers of their classes.
        names: of the classes.
        prompt_sets: what is unsafe, and what anchors name.
    """

    contents: list[bytes]
    labels: Numbers
    names: list[str]
    prompt_sets: Sequence[PromptSet]

    @classmethod
    def of(cls, place: Workplace, prompt_sets: Sequence[PromptSet]) -> Photographs:
        """Read them."""
        table = parquet.read_table(place.validation, columns=["image", "label"])
        contents = [image["bytes"] for image in table["image"].to_pylist()]
        return cls(contents, np.array(table["label"].to_pylist()), class_names(place.validation), prompt_sets)

    @cached_property
    def categories(self) -> NDArray[np.str_]:
        """(N,): the category that each shows; ``benign`` where it shows none."""
        named = {prompt: one.category for one in self.prompt_sets for prompt in one.prompts}
        return np.array([named.get(name, BENIGN) for name in self.names])[self.labels]

    @cached_property
    def unsafe(self) -> Flags:
        """(N,): some category is shown."""
        found: Flags = self.categories != BENIGN
        return found

    @cached_property
    def named(self) -> Flags:
        """(N,): harmless, and its class is among the anchors in words."""
        return self.of_classes([prompt for one in self.prompt_sets for prompt in one.benign_prompts])

    @cached_property
    def for_calibration(self) -> Flags:
        """(N,): the calibration half."""
        flags = np.zeros(len(self.labels), dtype=bool)
        for label in np.unique(self.labels):
            flags[np.flatnonzero(self.labels == label)[::2]] = True
        return flags

    def of_classes(self, classes: Sequence[str]) -> Flags:
        """(N,): a photograph of one of these classes."""
        return np.isin(np.array(self.names)[self.labels], list(classes))

    def sample(self, benign: int) -> Numbers:
        """All unsafe photographs that are measured on, and so many harmless ones, the same every time."""
        measured = ~self.for_calibration
        harmless = np.flatnonzero(measured & ~self.unsafe)
        drawn = np.random.default_rng(SEED).permutation(harmless)[:benign]
        return np.sort(np.concatenate([np.flatnonzero(measured & self.unsafe), drawn]))


def write_halves(photographs: Photographs, folder: Path, benign: int) -> None:
    """Write ``calibration/CATEGORY`` and ``measured/CONDITION``, each unless it is there; files have their numbers."""
    for category in np.unique(photographs.categories).tolist():
        chosen = photographs.for_calibration & (photographs.categories == category)
        _write(photographs, folder / "calibration" / category, np.flatnonzero(chosen), AS_IT_IS)
    _write(photographs, folder / "measured" / AS_IT_IS, np.flatnonzero(~photographs.for_calibration), AS_IT_IS)
    for condition in CONDITIONS:
        _write(photographs, folder / "measured" / condition, photographs.sample(benign), condition)


def pixels_of(photographs: Photographs, numbers: Numbers) -> NDArray[np.uint8]:
    """(n, 3, H, W), as a judge takes them."""
    opened = (Image.open(io.BytesIO(photographs.contents[number])).convert("RGB") for number in numbers)
    pixels: NDArray[np.uint8] = np.stack([np.asarray(picture) for picture in opened]).transpose(0, 3, 1, 2)
    return pixels


def number_of(path: str) -> int:
    """The number of the photograph that a file holds."""
    return int(Path(path).stem)


def _write(photographs: Photographs, folder: Path, numbers: Numbers, condition: str) -> None:
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as partial:
        for number in numbers.tolist():
            content, suffix = changed(photographs.contents[number], condition, np.random.default_rng([SEED, number]))
            (partial / f"{number:05d}{suffix}").write_bytes(content)
