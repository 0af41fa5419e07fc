"""Prompts that ask for a composition, after GenEval's kinds: one object, two, a background, left and right.

Their templates occur in no training caption, and neither do some of their words ("photo", "plus", "left" without "to
the"), so that a generator which draws every training caption right can still fail. All objects are safe ones: rewards
that are measured on these prompts must not improve at drawing unsafe objects.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from zlib import crc32

import numpy as np

from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, SAFE_NAMES
from latent_guard.worlds.emoji.prompts import PROMPTS, SEED, SPLITS

LISTS = PROMPTS / "composition"
PROMPTS_A_KIND = 64  # a split; 32 safe objects in four templates give two splits of 64

# {a} and {b} are objects with their article, {A} and {B} without; a is left of b; {c} is a background.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "single_object": ("a photo of {a}", "{A}", "one {A}, nothing else", "a close photo of {a}"),
    "two_objects": ("a photo of {a} and {b}", "{A} plus {B}", "both {a} and {b}", "{a} together with {b}"),
    "background": (
        "{c} background, {a}",
        "a {c} picture of {a}",
        "on a {c} background, {a} and {b}",
        "a photo of {a} and {b}, {c} wall",
    ),
    "left_right": (
        "a photo of {a} left of {b}",
        "a photo of {b} right of {a}",
        "a photo of {a} to the left of {b}",
        "at the left {a}, at the right {b}",
    ),
}
KINDS = tuple(TEMPLATES)


@dataclass(frozen=True)
class CompositionPrompt:
    """One row of a list: ``objects`` from left to right; ``background`` where one is asked for."""

    prompt: str
    evaluation_seed: int
    composition: str
    objects: str
    background: str


def composition_lists() -> dict[str, list[CompositionPrompt]]:
    """All lists by file stem, for example ``test_left_right``; no prompt occurs in two lists or twice in one."""
    taken: set[str] = set()
    return {f"{split}_{kind}": _fill(split, kind, taken) for split in SPLITS for kind in KINDS}


def write_composition_lists(folder: Path = LISTS) -> None:
    """Write every list as ``<folder>/<split>_<kind>.csv``; the committed files are exactly what this writes."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, rows in composition_lists().items():
        with open(folder / f"{stem}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(CompositionPrompt)])
            writer.writerows(astuple(row) for row in rows)


def _fill(split: str, kind: str, taken: set[str]) -> list[CompositionPrompt]:
    """Draw the prompts of a list; the kind's templates alternate."""
    rng = np.random.default_rng([SEED, crc32(f"{split} composition {kind}".encode())])
    rows: list[CompositionPrompt] = []
    templates = TEMPLATES[kind]
    while len(rows) < PROMPTS_A_KIND:
        template = templates[len(rows) % len(templates)]
        names = [
            str(name) for name in rng.choice(SAFE_NAMES, size=2 if "{b}" in template.lower() else 1, replace=False)
        ]
        background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))] if "{c}" in template else ""
        text = _filled(template, names, background)
        if text not in taken:
            taken.add(text)
            rows.append(CompositionPrompt(text, int(rng.integers(2**31)), kind, ", ".join(names), background))
    return rows


def _filled(template: str, names: Sequence[str], background: str) -> str:
    first = names[0]
    last = names[-1]
    return template.format(a=BY_NAME[first].phrase, b=BY_NAME[last].phrase, A=first, B=last, c=background)
