"""The verification of a fitted guard, on prompts and seeds that nothing was fitted on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_guard.building import build
from latent_guard.concepts.conformal import rate_bounds
from latent_guard.files.documents import read_json
from latent_guard.fitting.guarded import GuardedImages, run_guarded
from latent_guard.fitting.pushes import Choice
from latent_guard.fitting.record import Recording
from latent_guard.fitting.teaching import Teaching
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision, Verdict

_TIMED_LOOKS = 5


@dataclass(frozen=True)
class Share:
    """``count`` of ``of`` images, with one-sided 95% bounds of the share (Clopper & Pearson 1934)."""

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def among(cls, flags: Sequence[bool]) -> Share:
        """The share of true flags; there is at least one flag."""
        return cls(sum(flags), len(flags), *rate_bounds(sum(flags), len(flags)))

    def __str__(self) -> str:
        return f"{self.count / self.of:.1%} ({self.count} of {self.of}; bounds {self.low:.1%} and {self.high:.1%})"


@dataclass(frozen=True)
class Verification:
    """What a fitted guard did on fresh prompts and seeds.

    Attributes:
        benign_touched: images of benign prompts that were pushed, made again, flagged or blocked.
        unsafe_unguarded, unsafe_guarded: images of unsafe prompts that are unsafe, without the guard, and with it
            among those that were handed out.
        spoilt: images of unsafe prompts that were handed out, and that pushes had broken.
        flagged, steered, resampled, blocked: what became of the images of unsafe prompts; ``flagged`` counts those that
            were over a threshold at any look.
        noise_levels: of the looks, falling; the last is 0, the final latents.
        auroc: at each look, of the highest score against whether the finished image is unsafe; empty where all or none
            are.
        seconds_of_look: of one image's look.
        evaluations: of the denoiser, for an image of an unsafe prompt and of a benign one, and unguarded.
        said_by: who says what is unsafe.
        policy: what the policy does, in words.
    """

    benign_touched: Share
    unsafe_unguarded: Share
    unsafe_guarded: Share
    spoilt: Share
    flagged: Share
    steered: Share
    resampled: Share
    blocked: Share
    noise_levels: tuple[float, ...]
    auroc: tuple[float, ...]
    seconds_of_look: float
    evaluations: tuple[float, float, float]
    said_by: str
    policy: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Verification:
        """Read what ``to_dict`` gave from a JSON file; ``InputError`` for anything else."""
        return build(cls, read_json(path, "the verification"), str(path))

    def rows(self) -> list[tuple[str, str]]:
        """The table, as names and values in words."""
        on_unsafe, on_benign, alone = self.evaluations
        lines = [
            ("policy", self.policy),
            ("benign images touched", str(self.benign_touched)),
            ("unsafe images of unsafe prompts, unguarded", str(self.unsafe_unguarded)),
            ("unsafe images of unsafe prompts, guarded", str(self.unsafe_guarded)),
            ("of unsafe prompts, guarded: broken by pushes", str(self.spoilt)),
            ("images of unsafe prompts over a threshold", str(self.flagged)),
            ("steered", str(self.steered)),
            ("made again", str(self.resampled)),
            ("blocked", str(self.blocked)),
        ]
        if self.auroc:
            lines.append(("AUROC of the looks, lowest and highest", f"{min(self.auroc):.3f}, {max(self.auroc):.3f}"))
        lines.append(("a look at one image", f"{1000 * self.seconds_of_look:.1f} ms"))
        lines.append(
            (
                "denoiser evaluations, unguarded; benign; unsafe prompts",
                f"{alone:.1f}; {on_benign:.1f}; {on_unsafe:.1f}",
            )
        )
        lines.append(("unsafe is what is found so by", self.said_by))
        return lines


def verify(
    guard: LatentGuard, pipe: Any, unguarded: Recording, choice: Choice, teaching: Teaching
) -> tuple[Verification, GuardedImages]:
    """Run the guard on the jobs of a recording, and compare.

    Args:
        guard: fitted.
        pipe: the pipeline.
        unguarded: the same jobs, unguarded: both benign and unsafe prompts.
        choice: of the policy that the guard is to be used with.
        teaching: says what images show.

    Returns:
        What was measured, and the guarded images of unsafe prompts.
    """
    shows, observer, arguments = teaching.unsafe(unguarded), teaching.observer, teaching.settings.arguments
    benign = [job for job in unguarded.jobs if not job.category]
    risky = [job for job in unguarded.jobs if job.category]
    on_benign = run_guarded(guard, pipe, benign, choice.policy, observer, arguments).verdicts
    seen_risky = run_guarded(guard, pipe, risky, choice.policy, observer, arguments)
    on_risky = seen_risky.verdicts
    handed_out = [verdict.decision is not Decision.BLOCKED for verdict in on_risky]
    scorer = Scorer(guard.model, guard.bank)
    auroc, latents = _auroc(scorer, unguarded, shows)
    measured = Verification(
        benign_touched=Share.among([_touched(verdict) for verdict in on_benign]),
        unsafe_unguarded=Share.among(shows[unguarded.asked].tolist()),
        unsafe_guarded=Share.among([out and bad for out, bad in zip(handed_out, seen_risky.unsafe, strict=True)]),
        spoilt=Share.among([out and bad for out, bad in zip(handed_out, seen_risky.spoilt, strict=True)]),
        flagged=Share.among([_touched(verdict) for verdict in on_risky]),
        steered=_decided(on_risky, Decision.STEERED),
        resampled=_decided(on_risky, Decision.RESAMPLED),
        blocked=_decided(on_risky, Decision.BLOCKED),
        noise_levels=tuple(unguarded.noise_levels.tolist()),
        auroc=auroc,
        seconds_of_look=_seconds_of_look(scorer, latents),
        evaluations=(_evaluations(on_risky), _evaluations(on_benign), _alone(on_benign)),
        said_by=teaching.said_by,
        policy=choice.words,
    )
    return measured, seen_risky


def _touched(verdict: Verdict) -> bool:
    return verdict.decision is not Decision.ALLOWED or bool(verdict.actions)


def _decided(verdicts: Sequence[Verdict], decision: Decision) -> Share:
    return Share.among([verdict.decision is decision for verdict in verdicts])


def _evaluations(verdicts: Sequence[Verdict]) -> float:
    return sum(verdict.cost.model_evaluations for verdict in verdicts) / len(verdicts)


def _alone(verdicts: Sequence[Verdict]) -> float:
    return float(min(verdict.cost.model_evaluations for verdict in verdicts))


def _auroc(scorer: Scorer, recording: Recording, shows: Tensor) -> tuple[tuple[float, ...], Tensor]:
    """AUROC at each look, and some latents that were scored."""
    from sklearn.metrics import roc_auc_score

    latents = torch.cat(recording.batches(-1))
    if shows.all() or not shows.any():
        return (), latents[:1].float()
    areas = []
    for look, level in enumerate(recording.noise_levels.tolist()):
        with torch.no_grad():
            scores = [scorer.scores(batch.float(), level).amax(dim=1).cpu() for batch in recording.batches(look)]
        areas.append(float(roc_auc_score(shows.numpy(), torch.cat(scores).numpy())))
    return tuple(areas), latents[:1].float()


def _seconds_of_look(scorer: Scorer, raw: Tensor) -> float:
    """The median time of a look at one image."""
    times = []
    for _ in range(_TIMED_LOOKS):
        started = time.perf_counter()
        scorer.check(raw, 0.0)
        times.append(time.perf_counter() - started)
    return sorted(times)[_TIMED_LOOKS // 2]
