"""What the guard decided about one image, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Literal

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value

Gate = Literal["both", "steps", "decode"]
Watched = Gate | Literal["final"]
GATES: tuple[Gate, ...] = ("both", "steps", "decode")


class Decision(str, Enum):
    """The outcome for one image; each but ``blocked`` means that the image was handed out."""

    ALLOWED = "allowed"  # safe at the end, never touched
    FLAGGED = "flagged"  # unsafe at the end
    STEERED = "steered"  # safe at the end, after pushes
    RESAMPLED = "resampled"  # safe at the end, after one or more retries
    BLOCKED = "blocked"  # unsafe at the end, and masked
    UNCHECKED = "unchecked"  # the guard failed, and the caller had asked for on_error="open"

    @property
    def safe(self) -> bool:
        """True if the image was found safe at the end."""
        return self in (Decision.ALLOWED, Decision.STEERED, Decision.RESAMPLED)


class ActionKind(str, Enum):
    """What was done about an image; the last two change nothing, but say that it counts as unsafe however it ends."""

    PUSH = "push"
    RETRY = "retry"
    ABORT = "abort"  # the rest of a hopeless run was skipped
    EXHAUSTED = "exhausted"  # over its threshold although it had all its pushes
    UNREADABLE = "unreadable"  # a score that was not finite


@dataclass(frozen=True)
class Action:
    """One intervention.

    ``attempt`` is 0 for the first run; ``step`` counts in the scheduler's timesteps, a retry's is 0; ``score``
    is what ``category`` scored just before (a retry's is that of the reason), ``threshold`` what it was allowed;
    ``concept`` is that category's nearest, ``frame`` that of a video's latents which scored it.
    """

    kind: ActionKind
    attempt: int
    step: int
    noise_level: float
    category: str
    score: float
    threshold: float
    concept: str = ""
    frame: int | None = None


@dataclass(frozen=True)
class Reason:
    """What a decision rests on: which category and which of its concepts, what score, which threshold, which step.

    Of a video, ``frame`` is the latent frame that scored highest, counted from 0.
    """

    category: str
    concept: str
    score: float
    threshold: float
    step: int
    noise_level: float
    frame: int | None = None

    def __str__(self) -> str:
        frame = "" if self.frame is None else f", latent frame {self.frame}"
        return (
            f"{self.category} ({self.concept}): {self.score:.2f} against {self.threshold:.2f} "
            f"at step {self.step}, noise level {self.noise_level:.2f}{frame}"
        )


@dataclass(frozen=True)
class PromptScore:
    """What the prompt's text alone scored, before the first step, in the category furthest over its threshold.

    It says what was asked for, not what was drawn: ``flagged`` never changes an image or its decision.
    """

    category: str
    concept: str
    score: float
    threshold: float

    @property
    def flagged(self) -> bool:
        """True if the text is over the threshold, or its score cannot be read."""
        return not self.score <= self.threshold


@dataclass(frozen=True)
class Cost:
    """What one image cost, over all its attempts; ``pushes`` counts the steps with a push.

    ``seconds`` is the image's equal share of the wall-clock time of its runs: whole pipeline calls under
    ``generate``, from the first step to the last under ``attach``.
    """

    model_evaluations: int = 0
    checks: int = 0
    pushes: int = 0
    retries: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class Verdict:
    """The decision about image number ``image`` of a call.

    ``category`` is the one furthest over its threshold at the end, else that of the last action, else None.
    ``scores`` and ``thresholds`` hold every category's values for the final latent (noise level 0), or for
    the last check of an aborted run. ``reason`` is the check that decided: of an image that ended safe after
    an action, the one before the last action; of one whose pushes were exhausted, or that could not be read, the first
    that found it so; of one never touched, the category closest to its threshold.
    ``prompt`` is the score of the prompt's text, where the policy asks for it. ``gate`` says what was watched: the
    steps and the decoder, the steps alone, the decoder alone, as of pipelines whose steps the guard does not know, or
    nothing but the final latents, as by a callback.
    """

    image: int
    decision: Decision
    category: str | None
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    actions: tuple[Action, ...] = ()
    cost: Cost = Cost()
    prompt_words_dropped: int = 0
    reason: Reason | None = None
    prompt: PromptScore | None = None
    gate: Watched = "both"

    @property
    def margin(self) -> float:
        """How far the category furthest over its threshold is over it, in log-odds; infinite if one cannot be read."""
        margins = [score - self.thresholds[name] for name, score in self.scores.items()]
        return max(margin if math.isfinite(margin) else math.inf for margin in margins)

    def to_json(self) -> str:
        """One line of JSON; numbers that are not finite become the strings "nan", "inf" and "-inf"."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Verdict:
        """The verdict of ``to_json``'s line; anything else raises ``InputError``."""
        return cls.from_dict(json_value(line, "not a verdict: it", any_text=True))

    def to_dict(self) -> dict[str, Any]:
        """What ``to_json`` writes."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Any) -> Verdict:
        """The opposite of ``to_dict``; anything else raises ``InputError``."""
        try:
            return build(cls, _numbers(values), "verdict")
        except InputError as error:
            raise InputError(f"not a verdict: {error}; expected a line written by Verdict.to_json") from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any, key: str = "") -> Any:
    """The opposite of ``_finite``, which wrote numbers as words: only where numbers stand."""
    if isinstance(value, dict):
        return {name: _numbers(item, key if key in _OF_CATEGORIES else name) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") and key in _NUMBERS else value


_OF_CATEGORIES = ("scores", "thresholds")
_NUMBERS = (*_OF_CATEGORIES, "noise_level", "score", "threshold")
