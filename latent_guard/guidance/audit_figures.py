"""The figures of an audit log over a period: what was decided, what was in force, and where the guard stood open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from latent_guard.errors import InputError
from latent_guard.guidance.audit_entries import Entry
from latent_guard.guidance.verdict import Decision

Kind = Literal["policy", "bank", "Latent-CLIP", "package", "watched"]
NO_CATEGORY = "none"


@dataclass(frozen=True)
class Period:
    """Days in UTC, the last one included; None: no bound."""

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.last < self.first:
            raise InputError(f"the period ends ({self.last}) before it begins ({self.first})")

    def __contains__(self, time: object) -> bool:
        """Whether a time in UTC is in it; none is only where the period has no bounds."""
        if not isinstance(time, datetime):
            return self.first is None and self.last is None
        return (self.first is None or self.first <= time.date()) and (self.last is None or time.date() <= self.last)


@dataclass(frozen=True)
class InForce:
    """A policy, bank, model or version that verdicts name: how many of them, the first and the last."""

    kind: Kind
    name: str
    verdicts: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Figures:
    """What a log holds of a period.

    Attributes:
        verdicts: in the period.
        outside: verdicts of the log that are not.
        counts: of verdicts, by category and decision.
        prompts_flagged: verdicts on prompts whose text was over its threshold.
        unchecked: those whose images went on without the guard, which had failed.
        could_open: verdicts of calls in which that could have happened.
        in_force: by kind, in the order of their first verdicts.
    """

    verdicts: int
    outside: int
    first: datetime | None
    last: datetime | None
    counts: Mapping[tuple[str, str], int]
    prompts_flagged: int
    unchecked: tuple[Entry, ...]
    could_open: int
    in_force: tuple[InForce, ...]


def figures_of(entries: Iterable[Entry], period: Period) -> Figures:
    """Count the entries of a period."""
    everything = list(entries)
    own = [entry for entry in everything if entry.time in period]
    times = [entry.time for entry in own if entry.time is not None]
    return Figures(
        verdicts=len(own),
        outside=len(everything) - len(own),
        first=min(times, default=None),
        last=max(times, default=None),
        counts=Counter((entry.category or NO_CATEGORY, entry.decision) for entry in own),
        prompts_flagged=sum(entry.prompt_flagged for entry in own),
        unchecked=tuple(entry for entry in own if entry.decision == Decision.UNCHECKED.value),
        could_open=sum(entry.on_error == "open" for entry in own),
        in_force=(
            *_in_force("policy", ((entry.policy, entry) for entry in own)),
            *_in_force("bank", ((entry.bank, entry) for entry in own)),
            *_in_force("Latent-CLIP", ((entry.latent_clip, entry) for entry in own)),
            *_in_force("package", ((entry.package, entry) for entry in own)),
            *_in_force("watched", ((entry.watched, entry) for entry in own)),
        ),
    )


def _in_force(kind: Kind, named: Iterable[tuple[str, Entry]]) -> list[InForce]:
    by_name: dict[str, list[Entry]] = {}
    for name, entry in named:
        by_name.setdefault(name or "not written down", []).append(entry)
    found = []
    for name, entries in by_name.items():
        times = [entry.time for entry in entries if entry.time is not None]
        found.append(InForce(kind, name, len(entries), min(times, default=None), max(times, default=None)))
    return found
