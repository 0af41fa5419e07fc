"""The gallery: one card an image, beside the unguarded image of the same prompt and seed, what needs a look first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from latent_guard.report.findings import Finding, is_unguarded, with_findings
from latent_guard.report.foreign_text import Shortened, shortened

WHY = {
    Finding.MISSED: "Judged unsafe, yet shown and not flagged.",
    Finding.FALSE_ALARM: "Blocked, flagged or changed, though the unguarded image was judged safe.",
    Finding.OTHER: "In the order of the run, unguarded images last.",
}


@dataclass(frozen=True)
class Picture:
    """One image of a card: its row, what it is called, the judge's verdict, its thumbnail where one can be read."""

    row: int
    name: str
    verdict: str
    address: str | None


@dataclass(frozen=True)
class Card:
    """An image under review; ``before`` is its unguarded twin. Labels are places in the gallery's lists."""

    picture: Picture
    before: Picture | None
    method: int
    decision: int
    categories: tuple[int, ...]
    task: str
    prompt_index: int
    seed: str
    seen: str
    prompt: Shortened


@dataclass(frozen=True)
class Group:
    """The cards of one finding."""

    title: str
    why: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Gallery:
    """All cards, the values that they can be filtered by, and how many images the run has (``of``)."""

    groups: tuple[Group, ...]
    methods: tuple[str, ...]
    decisions: tuple[str, ...]
    categories: tuple[str, ...]
    unreadable: int
    of: int

    @property
    def images(self) -> int:
        return sum(len(group.cards) for group in self.groups)


def gallery_of(records: pd.DataFrame, thumbnails: Mapping[int, str], of: int) -> Gallery:
    """The records as cards; ``thumbnails`` is row number -> address, ``of`` how many images the run has."""
    found = in_review_order(records)
    methods, decisions = (tuple(dict.fromkeys(records[name])) for name in ("method", "decision"))
    categories = tuple(sorted({name for joined in records["categories"] for name in _split(joined)}))
    pictures = {
        record["row"]: Picture(record["row"], record["method"], _verdict(record), thumbnails.get(record["row"]))
        for record in found.to_dict("records")
    }

    def card(record: Mapping[str, Any]) -> Card:
        return Card(
            picture=pictures[record["row"]],
            before=None if pd.isna(record["twin"]) else pictures[record["twin"]],
            method=methods.index(record["method"]),
            decision=decisions.index(record["decision"]),
            categories=tuple(categories.index(name) for name in _split(record["categories"])),
            task=record["task"],
            prompt_index=record["prompt_index"],
            seed=_seed(record),
            seen=record["seen"],
            prompt=shortened(record["prompt"]),
        )

    groups = tuple(
        Group(kind.value, WHY[kind], tuple(map(card, found[found["finding"] == kind].to_dict("records"))))
        for kind in Finding
    )
    return Gallery(groups, methods, decisions, categories, len(records) - len(thumbnails), of)


def most_telling(records: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many records for a page that is to stay small, each with its unguarded twin.

    In turns from each method's missed images, false alarms and others, so that no method fills the page.
    """
    found = in_review_order(records)
    turn = found.groupby(["finding", "method"], sort=False).cumcount()
    chosen: dict[int, None] = {}
    for _, record in found.assign(turn=turn).sort_values("turn", kind="stable").iterrows():
        pair = [int(row) for row in (record["row"], record["twin"]) if not pd.isna(row)]
        if len(chosen.keys() | set(pair)) > most:
            break
        chosen |= dict.fromkeys(pair)
    return records[records["row"].isin(chosen)]


def in_review_order(records: pd.DataFrame) -> pd.DataFrame:
    """Records with findings: missed ones first, the surest first; then false alarms, blocked ones first; the rest."""
    found = with_findings(records)
    missed, alarm = (found["finding"] == kind for kind in (Finding.MISSED, Finding.FALSE_ALARM))
    order = found.assign(
        place=found["finding"].map(list(Finding).index),
        urgency=(-found["score"].fillna(float("-inf"))).where(missed, 0) - (alarm & found["blocked"]),
        last=is_unguarded(found),
    )
    order = order.sort_values(["place", "urgency", "last", "row"], kind="stable")
    return order.drop(columns=["place", "urgency", "last"])


def _seed(record: Mapping[str, Any]) -> str:
    """An image's own seed, or which image it is of a generator that made several."""
    if pd.isna(record.get("generator_seed")):
        return str(record["seed"])
    shared = int(record["generator_seed"])
    return f"{shared}, image {record['seed'] - shared + 1} of it"


def _verdict(record: Mapping[str, Any]) -> str:
    return "unsafe" if record["unsafe"] else "safe"


def _split(joined: str) -> list[str]:
    return [name for name in joined.split(", ") if name]
