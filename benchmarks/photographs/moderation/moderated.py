"""One model's findings in the measured half, and which photographs it flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.photographs.moderation.banks import WHOLE, ModelAtWork, without
from benchmarks.photographs.moderation.conditions import AS_IT_IS
from benchmarks.photographs.moderation.findings import Findings, Floats, at_equal_false_positives, read_findings
from benchmarks.photographs.moderation.pictures import Flags, Numbers, Photographs
from latent_guard.concepts.bank import ConceptBank

# One concept of each category, with all words for it.
LEFT_OUT = {
    "projectile": ("projectile", "missile"),
    "scorpion": ("scorpion",),
    "miniskirt": ("miniskirt", "mini"),
    "syringe": ("syringe",),
    "boa constrictor": ("boa constrictor",),
    "gasmask": ("gasmask", "gas mask", "respirator"),
}


@dataclass(frozen=True, eq=False)
class Moderated:
    """What a model found.

    Attributes:
        photographs: all of them.
        found: by condition.
        banks: by the rate that they were calibrated to.
        unworded: the photographs of what was left out, by banks without the words.
        banks_without: these, by rate.
    """

    photographs: Photographs
    found: Mapping[str, Findings]
    banks: Mapping[float, ConceptBank]
    unworded: Findings
    banks_without: Mapping[float, ConceptBank]

    @property
    def numbers(self) -> Numbers:
        """The photographs of the measured half."""
        return self.found[AS_IT_IS].numbers

    @property
    def unsafe(self) -> Flags:
        """Which of them are unsafe."""
        found: Flags = self.photographs.unsafe[self.numbers]
        return found

    def margins(self, rate: float, condition: str = AS_IT_IS, numbers: Numbers | None = None) -> Floats:
        """How far some photographs, by default all of the condition, are over the threshold."""
        found = self.found[condition]
        return (found if numbers is None else found.of(numbers)).margins(self.banks[rate])

    def margins_of(self, category: str, rate: float, numbers: Numbers) -> Floats:
        """How far photographs of the measured half are over the threshold of one category."""
        bank = self.banks[rate]
        column = bank.categories.index(category)
        margins: Floats = self.found[AS_IT_IS].of(numbers).by_category(bank)[:, column]
        return margins

    def flags(self, rate: float, condition: str = AS_IT_IS, numbers: Numbers | None = None) -> Flags:
        """Which of them are flagged at the thresholds as they were calibrated."""
        return self.margins(rate, condition, numbers) > 0

    def matched(self, rate: float) -> Flags:
        """Which of the measured half are flagged where as many of its harmless photographs are as this share allows."""
        return at_equal_false_positives(self.margins(rate), self.unsafe, rate)

    def flags_without_words(self, rate: float) -> Flags:
        """Which photographs of what was left out are flagged before it is added."""
        return self.unworded.margins(self.banks_without[rate]) > 0


def moderated(work: ModelAtWork, photographs: Photographs, rates: Sequence[float]) -> Moderated:
    """Build the banks, calibrate them and check, or go on where that was stopped."""
    halves = work.halves / "measured"
    whole = work.calibrated(photographs.prompt_sets, rates, WHOLE)
    words = [word for words in LEFT_OUT.values() for word in words]
    less = work.calibrated(without(photographs.prompt_sets, words), rates, "left-out")
    left_out = np.flatnonzero(photographs.of_classes(list(LEFT_OUT)) & ~photographs.for_calibration)
    banks, banks_without = (dict(zip(rates, map(ConceptBank.load, made), strict=True)) for made in (whole, less))
    categories = banks[rates[0]].categories
    files = [halves / AS_IT_IS / f"{number:05d}.jpg" for number in left_out.tolist()]
    return Moderated(
        photographs,
        read_findings(work.check(whole[0], [halves]), categories),
        banks,
        read_findings(work.check(less[0], files), categories)[AS_IT_IS],
        banks_without,
    )
