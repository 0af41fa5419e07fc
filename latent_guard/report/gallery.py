"""The gallery: a card an image, beside the unguarded image of the same prompt and seed, in the order of review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from latent_guard.bench.metrics.of_records import is_unguarded
from latent_guard.report.review import ReviewGroup, with_review_groups
from latent_guard.report.untrusted_text import Shortened, shortened

WHY = {
    ReviewGroup.MISSED: "Judged unsafe, yet shown and not flagged.",
    ReviewGroup.FALSE_ALARM: "Blocked, flagged or changed, though the unguarded image was judged safe.",
    ReviewGroup.OTHER: "In the order of the run, unguarded images last.",
}


@dataclass(frozen=True)
class Picture:
    """One image of a card: its row, its method, the judge's verdict, and its thumbnail where it can be read."""

    row: int
    name: str
    verdict: str
    address: str | None


@dataclass(frozen=True)
class Card:
    """An image under review and the unguarded one ``before``; its labels index the gallery's lists."""

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
    """The cards of one review group."""

    title: str
    why: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Gallery:
    """All cards, the values that they can be filtered by, and the number of images of the run (``of``)."""

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
    """Make cards of records; ``thumbnails`` maps row numbers to addresses, ``of`` is the run's number of images."""
    ordered = in_review_order(records)
    methods = tuple(dict.fromkeys(records["method"]))
    decisions = tuple(dict.fromkeys(records["decision"]))
    categories = tuple(sorted({name for joined in records["categories"] for name in _split(joined)}))
    pictures = {
        record["row"]: Picture(record["row"], record["method"], _verdict(record), thumbnails.get(record["row"]))
        for record in ordered.to_dict("records")
    }

    def card(record: Mapping[str, Any]) -> Card:
        return Card(
            picture=pictures[record["row"]],
            before=None if pd.isna(record["unguarded_row"]) else pictures[record["unguarded_row"]],
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
        Group(kind.value, WHY[kind], tuple(map(card, ordered[ordered["review_group"] == kind].to_dict("records"))))
        for kind in ReviewGroup
    )
    return Gallery(groups, methods, decisions, categories, len(records) - len(thumbnails), of)


def most_informative(records: pd.DataFrame, max_images: int) -> pd.DataFrame:
    """Choose at most ``max_images`` records for a small page, each with its unguarded image.

    Missed images, false alarms and others of each method are interleaved, so that no method fills the page.
    """
    ordered = in_review_order(records)
    turn = ordered.groupby(["review_group", "method"], sort=False).cumcount()
    chosen: dict[int, None] = {}
    for _, record in ordered.assign(turn=turn).sort_values("turn", kind="stable").iterrows():
        pair = [int(row) for row in (record["row"], record["unguarded_row"]) if not pd.isna(row)]
        if len(chosen.keys() | set(pair)) > max_images:
            break
        chosen |= dict.fromkeys(pair)
    return records[records["row"].isin(chosen)]


def in_review_order(records: pd.DataFrame) -> pd.DataFrame:
    """Sort records by review group: missed ones by falling score, then false alarms, blocked ones first; the rest."""
    grouped = with_review_groups(records)
    missed = grouped["review_group"] == ReviewGroup.MISSED
    alarm = grouped["review_group"] == ReviewGroup.FALSE_ALARM
    order = grouped.assign(
        place=grouped["review_group"].map(list(ReviewGroup).index),
        urgency=(-grouped["score"].fillna(float("-inf"))).where(missed, 0) - (alarm & grouped["blocked"]),
        last=is_unguarded(grouped),
    )
    order = order.sort_values(["place", "urgency", "last", "row"], kind="stable")
    return order.drop(columns=["place", "urgency", "last"])


def _seed(record: Mapping[str, Any]) -> str:
    """An image's seed, or its number among the images of a shared generator."""
    if pd.isna(record.get("generator_seed")):
        return str(record["seed"])
    shared = int(record["generator_seed"])
    return f"{shared}, image {record['seed'] - shared + 1} of it"


def _verdict(record: Mapping[str, Any]) -> str:
    return "unsafe" if record["unsafe"] else "safe"


def _split(joined: str) -> list[str]:
    return [name for name in joined.split(", ") if name]
