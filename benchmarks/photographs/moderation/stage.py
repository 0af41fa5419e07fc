"""The stage ``moderate``: photographs moderated by a bank of words, through the commands that anyone would use."""

from __future__ import annotations

from pathlib import Path

from benchmarks.photographs.classify import ranks_of
from benchmarks.photographs.moderation.banks import ModelAtWork
from benchmarks.photographs.moderation.judges import judged
from benchmarks.photographs.moderation.moderated import moderated
from benchmarks.photographs.moderation.pictures import Photographs, write_halves
from benchmarks.photographs.moderation.report import report
from benchmarks.photographs.moderation.rows import Comparison
from benchmarks.photographs.runs import Run, chosen_settings, is_searched, planned
from benchmarks.photographs.sizes import TOKEN
from benchmarks.photographs.workplace import LATENTS, PIXELS, Workplace
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.errors import InputError

CONCEPTS = Path(__file__).parents[1] / "concepts"


def moderate(place: Workplace, out: Path) -> None:
    """Moderate with the Latent-CLIP and its twin, let the judges judge, and write the report."""
    rates, benign = place.sizes.false_positives, place.sizes.benign
    latent, twin = trained_pair(place)
    photographs = Photographs.of(place, read_prompt_sets(CONCEPTS))
    works = [ModelAtWork(run, place) for run in (latent, twin)]
    write_halves(photographs, works[0].halves, benign)
    own, theirs = (moderated(work, photographs, rates) for work in works)
    sample = photographs.sample(benign)
    said = judged(photographs, sample, works[0].work)
    seen = Comparison(photographs, own, theirs, said, sample, rates, _missing(latent, place))
    report(seen, {"Latent-CLIP": latent.name, "pixel twin": twin.name}, out)


def _missing(latent: Run, place: Workplace) -> str:
    """What is still to come before the row can be decided; empty where nothing is."""
    longest = place.sizes.budgets[-1]
    budget = [] if latent.samples == longest else [f"models of {latent.samples:,} samples, not yet of {longest:,}"]
    search = [] if is_searched(place) else ["the twin's settings not searched yet"]
    finer = ["the twin's best patch not moderated yet"] if chosen_settings(place).patch != TOKEN else []
    return ", ".join(budget + search + finer)


def trained_pair(place: Workplace) -> tuple[Run, Run]:
    """The Latent-CLIP and the twin of as many tokens, of the longest budget at which both are finished.

    Raises:
        InputError: there is no such budget.
    """
    runs = [
        run
        for run in planned(place.sizes, chosen_settings(place))
        if (run.seed, run.start, run.settings.patch) == (0, None, TOKEN) and ranks_of(run, place) is not None
    ]
    for samples in reversed(place.sizes.budgets):
        found = {run.reads: run for run in runs if run.samples == samples}
        if LATENTS in found and PIXELS in found:
            return found[LATENTS], found[PIXELS]
    raise InputError(f"{place.work} holds no trained Latent-CLIP with its twin; `train --runs 2` makes the first pair")
