"""A trained model as a moderator: its bank of words alone, calibrated on one half, and what it finds in the other.

Every step is a command of ``latent-guard``. Banks are made anew each time, which takes seconds; embeddings of the
calibration half and findings are kept, and an interrupted check goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.photographs.moderation.pictures import BENIGN
from benchmarks.photographs.runs import Run, of_longest
from benchmarks.photographs.workplace import LATENTS, Workplace, latent_guard
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic

WHOLE = "all"  # the name of the banks of all words


@dataclass(frozen=True)
class ModelAtWork:
    """A model, and the folder of all that moderation makes."""

    run: Run
    place: Workplace

    @property
    def work(self) -> Path:
        return self.place.work / "moderation"

    @property
    def halves(self) -> Path:
        """The photographs as folders."""
        return self.work / "photographs"

    def calibrated(self, prompt_sets: Sequence[PromptSet], rates: Sequence[float], name: str) -> list[Path]:
        """A bank of these words for each rate, lowest first; they differ in their thresholds alone."""
        own = self.work / self.run.name
        record = own / "calibration.safetensors"
        words = self.work / "words" / name
        for one in prompt_sets:
            write_atomic(words / f"{one.category}.yaml", yaml.safe_dump(_content(one), sort_keys=False).encode())
        bank = own / name
        latent_guard("concepts", "build", words, *self._model, "--out", bank)
        banks = [self.bank(name, rate) for rate in rates]
        for rate, out in zip(rates, banks, strict=True):
            given = (*self._calibration(record), "--record", record, "--rate", str(rate), "--out", out)
            latent_guard("concepts", "calibrate", bank, *given)
        return banks

    def bank(self, name: str, rate: float) -> Path:
        """Where a bank lies that was calibrated to a rate."""
        return self.work / self.run.name / f"{name}-{rate:g}"

    def check(self, bank: Path, paths: Sequence[Path]) -> Path:
        """The file of findings, named by what the bank scores with."""
        out = self.work / self.run.name / f"{ConceptBank.load(bank).digest}.jsonl"
        latent_guard("check", *paths, *self._model, "--bank", bank, "--out", out)
        return out

    @property
    def _model(self) -> tuple[str | Path, ...]:
        return "--model", self.place.vae(self.run.reads), "--guard", self.run.folder(self.place)

    def _calibration(self, record: Path) -> list[str | Path]:
        """The options that name the calibration half, unless its embeddings are kept already."""
        if record.exists():
            return []
        folders = sorted((self.halves / "calibration").iterdir())
        shown = [word for one in folders if one.name != BENIGN for word in ("--unsafe-images", f"{one.name}={one}")]
        return [*self._model, "--benign-images", self.halves / "calibration" / BENIGN, *shown]


def calibrated_bank(place: Workplace) -> Path:
    """The bank of all words for the Latent-CLIP of the longest budget, with the lowest rate of false positives.

    Raises:
        InputError: it is not made yet.
    """
    bank = ModelAtWork(of_longest(LATENTS, place), place).bank(WHOLE, place.sizes.false_positives[0])
    if not bank.is_dir():
        raise InputError(f"{bank} is not made yet; run the stage moderate first")
    return bank


def without(prompt_sets: Sequence[PromptSet], words: Sequence[str]) -> list[PromptSet]:
    """The same prompt sets, some prompts left out."""
    return [replace(one, prompts=tuple(p for p in one.prompts if p not in words)) for one in prompt_sets]


def _content(prompt_set: PromptSet) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(prompt_set).items()}
