"""What a text or a picture scored in each of a bank's categories, against which threshold, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "image"]


@dataclass(frozen=True)
class Assessment:
    """The scores of one text or picture, all of them finite.

    Attributes:
        kind: what was judged.
        scores: of every category of the bank, in log-odds: of a text the highest of its passages, of a picture that of
            the frame furthest over the threshold.
        thresholds: what each was compared with.
        probabilities: of 0 to 1, rising with the score; what they are made of is ``ContentChecker``'s to say.
        category: the one furthest over its threshold, or closest to it.
        concept: that category's nearest.
    """

    kind: Kind
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    probabilities: Mapping[str, float]
    category: str
    concept: str

    @property
    def flagged(self) -> tuple[str, ...]:
        """The categories that are over their thresholds."""
        return tuple(name for name, score in self.scores.items() if not score <= self.thresholds[name])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return {
            "type": self.kind,
            "flagged": list(self.flagged),
            "category": self.category,
            "concept": self.concept,
            "scores": dict(self.scores),
            "thresholds": dict(self.thresholds),
            "probabilities": dict(self.probabilities),
        }
