"""Texts and pictures judged by a guard's bank and policy, apart from any generation."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from latent_guard.errors import GuardError, InputError, reason_of
from latent_guard.guidance.moderation import Moderator
from latent_guard.guidance.scoring import Scorer
from latent_guard.serving.moderation.assessment import Assessment
from latent_guard.version import __version__

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.verdict import Verdict

# A VAE may change its precision while it encodes, and several checkers, of several endpoints, may have one VAE.
_ENCODES = threading.Lock()
EVEN_ODDS = 0.0  # where a text is as close to the category's concepts as to what is harmless


class ContentChecker:
    """A guard, and the VAE with which it reads pictures.

    A text is over a category's threshold above the policy's ``prompt_trigger``, or above even odds (0) where the
    policy has none: the bank's thresholds were set on images and say nothing of texts. A picture is over it above the
    bank's threshold for finished images, plus the policy's ``trigger`` for that category, as an image that was just
    generated is. Probabilities of pictures are the bank's calibrated ones, of its fit on the score above its threshold;
    those of texts, and of pictures under a bank without a calibration, are the logistic of score minus threshold.
    """

    def __init__(self, guard: LatentGuard, vae: Any | None) -> None:
        """Check that the VAE is the guard's; None: pictures are refused.

        It must not be the very module of a pipeline that generates meanwhile: encoding may change its precision.

        Raises:
            LatentSpaceMismatchError: it is not the one that the guard was trained on.
        """
        self._moderator = Moderator(guard, vae)
        self._scorer = Scorer(guard.model, guard.bank)
        self._bank, self._policies = guard.bank, guard.policies
        trigger = guard.policies.prompt_trigger
        self.text_threshold = EVEN_ODDS if trigger is None else trigger
        report = guard.bank.calibration
        self._calibration = report.clean if report is not None else None

    @property
    def model_name(self) -> str:
        """The name under which answers say who judged: it changes with the Latent-CLIP."""
        return f"latent-guard-{self._bank.fingerprint}"

    def posture(self) -> dict[str, Any]:
        """What judges: package, Latent-CLIP, bank and policy."""
        return {
            "package": __version__,
            "latent_clip": self._bank.fingerprint,
            "bank": self._bank.digest,
            "policy": {"name": self._policies.name, "hash": self._policies.digest},
        }

    def texts(self, texts: Sequence[str]) -> list[Assessment]:
        """Judge each text, all of it, however long it is.

        Raises:
            InputError: one is not Unicode text.
            GuardError: one could not be judged.
        """
        with _judging():
            return [self._text(text) for text in texts]

    def images(self, pictures: Sequence[bytes]) -> list[Assessment]:
        """Judge stored pictures, all their frames, given the bytes of their files.

        Raises:
            InputError: one cannot be read, or there is no VAE.
            GuardError: one could not be judged.
        """
        with _judging(), _ENCODES:
            return [self._image(frames) for frames in self._moderator.verdicts(pictures, self._policies)]

    @torch.no_grad()
    def _text(self, text: str) -> Assessment:
        by_passage, nearest = self._scorer.check_text(text)
        _require_finite(by_passage.flatten().tolist(), "text")
        highest, passages = by_passage.max(dim=0)
        k = int(highest.argmax())
        concept = self._scorer.concepts[int(nearest[passages[k], k])]
        scores = dict(zip(self._scorer.categories, highest.tolist(), strict=True))
        thresholds = dict.fromkeys(scores, self.text_threshold)
        margins = {name: score - self.text_threshold for name, score in scores.items()}
        return Assessment("text", scores, thresholds, _logistic(margins), self._scorer.categories[k], concept)

    def _image(self, frames: Sequence[Verdict]) -> Assessment:
        _require_finite([score for frame in frames for score in frame.scores.values()], "image")
        worst = max(frames, key=lambda frame: frame.margin)
        reason = worst.reason
        assert reason is not None
        thresholds = dict(worst.thresholds)
        scores = {name: max(frame.scores[name] for frame in frames) for name in thresholds}
        # The calibration was fitted on what is over the bank's own thresholds, whatever a policy adds to them.
        margins = {name: scores[name] - thresholds[name] + self._policies[name].trigger for name in thresholds}
        return Assessment("image", scores, thresholds, self._chances(margins), reason.category, reason.concept)

    def _chances(self, margins: Mapping[str, float]) -> dict[str, float]:
        if self._calibration is None:
            return _logistic(margins)
        return dict(zip(margins, self._calibration.probabilities(list(margins.values())).tolist(), strict=True))


def _require_finite(scores: Sequence[float], what: str) -> None:
    if not scores or not all(map(math.isfinite, scores)):
        raise GuardError(f"the guard's score of this {what} is not finite, so that it could not be judged")


def _logistic(margins: Mapping[str, float]) -> dict[str, float]:
    values = torch.tensor(list(margins.values()), dtype=torch.float64).sigmoid().tolist()
    return dict(zip(margins, values, strict=True))


@contextmanager
def _judging() -> Iterator[None]:
    """Whatever fails inside, but for bad input, is a ``GuardError``: what could not be judged passes for nothing."""
    try:
        yield
    except (InputError, GuardError):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {reason_of(error)}"
        raise GuardError(f"the guard failed, so the content could not be judged ({why})") from error
