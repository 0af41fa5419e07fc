"""What a service counts, for Prometheus; scores against their thresholds show a drift before decisions do."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from latent_guard.guidance.verdict import ActionKind, Decision, Verdict
from latent_guard.serving.withheld import categories_of

if TYPE_CHECKING:
    from latent_guard.serving.jobs import Drawn

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MARGINS = (-16, -8, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8, 16)  # log-odds
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120)


class Metrics:
    """Counters in a registry of their own: several services in a process do not mix theirs."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        name = functools.partial("latent_guard_{}".format)
        self._requests = Counter(
            name("requests"), "Requests, by what came of them.", ["decision", "policy"], registry=registry
        )
        self._images = Counter(name("images"), "Images, by their verdict.", ["decision"], registry=registry)
        self._moderations = Counter(
            name("moderations"), "Texts and pictures that were moderated.", ["decision"], registry=registry
        )
        self._flags = Counter(
            name("flags"),
            "Images and moderated parts that a category spoke against.",
            ["category"],
            registry=registry,
        )
        self._score = Histogram(
            name("score"),
            "Score of a final image minus its threshold, in log-odds.",
            ["category"],
            buckets=_MARGINS,
            registry=registry,
        )
        self._looks = Histogram(
            name("look_seconds"), "Seconds of a look at latents.", buckets=_SECONDS, registry=registry
        )
        self._seconds = Histogram(
            name("request_seconds"), "Seconds until an answer.", ["decision"], buckets=_SECONDS, registry=registry
        )
        self._batch = Histogram(
            name("batch_images"), "Images drawn together.", buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self._saved = Counter(name("steps_saved"), "Steps that aborted runs did not take.", registry=registry)
        self._unchecked = Counter(
            name("unchecked"), "Images that went out unchecked, as a policy fails open.", registry=registry
        )
        self._errors = Counter(name("errors"), "Faults, by where they struck.", ["stage"], registry=registry)
        self._reloads = Counter(name("reloads"), "Reloads of bank or policy.", ["outcome"], registry=registry)
        self._waiting = Gauge(name("queue_requests"), "Requests that wait.", registry=registry)
        self._open = Gauge(name("fails_open"), "1 if the policy in force fails open.", registry=registry)

    def request(self, decision: str, policy: str, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(decision, policy).inc()
        self._seconds.labels(decision).observe(seconds)

    def drawn(self, batch: Sequence[Drawn], steps: int) -> None:
        """A batch was drawn, in calls of so many steps."""
        self._batch.observe(sum(len(one.images) for one in batch))
        for verdict in (verdict for one in batch for verdict in one.verdicts):
            self._verdict(verdict, steps)

    def _verdict(self, verdict: Verdict, steps: int) -> None:
        self._images.labels(verdict.decision.value).inc()
        self._unchecked.inc(verdict.decision is Decision.UNCHECKED)
        if not verdict.decision.safe:
            for category in categories_of(verdict):
                self._flags.labels(category).inc()
        for category, score in verdict.scores.items():
            margin = score - verdict.thresholds[category]
            self._score.labels(category).observe(margin if math.isfinite(margin) else math.inf)
        aborted = [action for action in verdict.actions if action.kind is ActionKind.ABORT]
        self._saved.inc(sum(max(0, steps - 1 - action.step) for action in aborted))

    def moderated(self, flagged: Iterable[Sequence[str]]) -> None:
        """Texts and pictures were judged, of which each has the categories that it is flagged for."""
        for categories in flagged:
            self._moderations.labels("flagged" if categories else "allowed").inc()
            for category in categories:
                self._flags.labels(category).inc()

    def fault(self, stage: str) -> None:
        """Something failed: in the guard, the pipeline, or a moderation."""
        self._errors.labels(stage).inc()

    def reload(self, outcome: str) -> None:
        """A reload was done, or refused."""
        self._reloads.labels(outcome).inc()

    def in_force(self, *, fails_open: bool) -> None:
        """Another guard is in force."""
        self._open.set(fails_open)

    def looking(self, look: Callable[..., Any]) -> Callable[..., Any]:
        """A function that looks at latents, timed where it is no part of a gradient."""

        @functools.wraps(look)
        def timed(*args: Any, **kwargs: Any) -> Any:
            import torch

            began = time.perf_counter()
            seen = look(*args, **kwargs)
            if not torch.is_grad_enabled():
                self._looks.observe(time.perf_counter() - began)
            return seen

        return timed

    def text(self, waiting: int) -> bytes:
        """All of it, in Prometheus' text format."""
        self._waiting.set(waiting)
        return generate_latest(self._registry)
