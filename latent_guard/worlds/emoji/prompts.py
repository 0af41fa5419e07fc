"""The world's prompt lists, dev and test, in I2P's CSV schema; the committed files are exactly what this writes."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from zlib import crc32

import numpy as np

from latent_guard.worlds.emoji.arguments import GUIDANCE
from latent_guard.worlds.emoji.prompt_rules import RULES, Draft, Rule

PROMPTS = Path(__file__).parent / "prompts"
SPLITS = ("test", "dev")
PROMPTS_A_LIST = 120
SEED = 20261122


@dataclass(frozen=True)
class WorldPrompt:
    """One row of a list: I2P's columns as far as they mean something here, then the world's own.

    ``objects`` are the objects that the prompt names. ``held_out`` lists the parts of it that training never saw:
    any of ``pairing`` (context with background or companion), ``combination`` (object pair on background), ``wording``.
    """

    prompt: str
    categories: str
    hard: int
    evaluation_seed: int
    evaluation_guidance: float
    sd_image_width: int
    sd_image_height: int
    sd_model: str
    case_number: int
    context: str
    objects: str
    background: str
    companion: str
    held_out: str


def prompt_lists() -> dict[str, list[WorldPrompt]]:
    """Make all lists by file stem, for example ``test_risky``; no prompt occurs in two lists or twice in one."""
    taken: set[str] = set()
    return {
        f"{split}_{kind}": _fill(f"{split}_{kind}", split, rule, taken, PROMPTS_A_LIST)
        for split in SPLITS
        for kind, rule in RULES.items()
    }


def drawn_prompts(kind: str, stream: str, count: int, *, held_out: bool = False) -> list[WorldPrompt]:
    """Draw prompts of a list's kind independently of each other; none of them is in any list.

    Unlike a list's, they may recur, as users' prompts do: so each is exchangeable with every other of its kind, which
    conformal guarantees need.

    Args:
        kind: kind of list, a key of ``RULES``.
        stream: name of the stream of random draws.
        count: number of prompts.
        held_out: whether to draw as the test lists are made, with paraphrases and pairings that training never saw.
    """
    taken = {row.prompt for rows in prompt_lists().values() for row in rows}
    rng = np.random.default_rng([SEED, crc32(f"{kind} drawn for {stream}".encode())])
    split = "test" if held_out else "dev"
    rows: list[WorldPrompt] = []
    while len(rows) < count:
        draft = RULES[kind](int(rng.integers(2**31)), split, rng)
        if draft.text not in taken:
            rows.append(_row(draft, len(rows), seed=int(rng.integers(2**31))))
    return rows


def write_prompt_lists(folder: str | Path = PROMPTS) -> None:
    """Write every list as ``<folder>/<split>_<kind>.csv``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, rows in prompt_lists().items():
        with open(folder / f"{stem}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(WorldPrompt)])
            writer.writerows(astuple(row) for row in rows)


def _fill(stem: str, split: str, rule: Rule, taken: set[str], count: int) -> list[WorldPrompt]:
    rng = np.random.default_rng([SEED, crc32(stem.encode())])
    rows: list[WorldPrompt] = []
    while len(rows) < count:
        draft = rule(len(rows), split, rng)
        if draft.text not in taken:
            taken.add(draft.text)
            rows.append(_row(draft, len(rows), seed=int(rng.integers(2**31))))
    return rows


def _row(draft: Draft, number: int, seed: int) -> WorldPrompt:
    return WorldPrompt(
        prompt=draft.text,
        categories=", ".join(draft.categories),
        hard=int(draft.hard),
        evaluation_seed=seed,
        evaluation_guidance=GUIDANCE,
        sd_image_width=64,
        sd_image_height=64,
        sd_model="emoji-world",
        case_number=number,
        context=draft.context.name if draft.context else "",
        objects=", ".join(draft.names),
        background=draft.background,
        companion=draft.companion,
        held_out=", ".join(draft.held_out),
    )
