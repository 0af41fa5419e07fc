"""Bulk work on Ray as a way: the same check in a worker, another process, in which things fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.moderation import Finding
from latent_guard.serving.bulk.check import CheckJob
from latent_guard.serving.bulk.cluster import LOCAL, connected
from latent_guard.serving.bulk.pool import results_of
from tests.faults.faults import FAULTS, FILES, Fault
from tests.faults.outcome import Handed
from tests.faults.scene import Scene
from tests.faults.strikes import Strike
from tests.faults.ways import Way, latents_file, of_findings

GROUP, KILLED = "Bulk work on Ray", "the worker is killed"
Work = Callable[[Sequence[Path]], list[Finding]]


@dataclass(frozen=True)
class Struck:
    """A job in whose process the fault of this name strikes before it is opened."""

    job: CheckJob
    fault: str
    work: Path

    def open(self) -> Work:
        """The job's own work, struck; what strikes in that process ends with it."""
        strike = next((fault.strike for fault in FAULTS if fault.name == self.fault), None)
        if strike is not None:
            elsewhere: Any = SimpleNamespace(armed=True)
            ExitStack().enter_context(strike(elsewhere))
        work = self.job.open()
        return partial(_dying_once, self.work / "died", work) if self.fault == KILLED else work


def check_on_ray(scene: Scene) -> Handed:
    """``latent-guard check --ray``."""
    path, raw = latents_file(scene)
    digest = ConceptBank.load(scene.known.folder / "bank").digest
    job = CheckJob(None, str(scene.folder), None, digest, has_pictures=False, scaled=True)
    with connected(LOCAL):
        (findings,) = results_of(Struck(job, scene.in_worker, scene.work), [[path]])
    return of_findings(scene, findings, raw)


def _dying_once(died: Path, work: Work, files: Sequence[Path]) -> list[Finding]:
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(files)


def in_worker(name: str) -> Strike:
    """The fault of this name strikes in the worker."""

    @contextmanager
    def strike(scene: Scene) -> Iterator[None]:
        scene.in_worker = name
        yield

    return strike


_STRUCK = ("weights truncated", "bank edited", "policy edited", "Latent-CLIP raises", "embeddings NaN")
RAY_FAULTS = (
    *(
        Fault(GROUP, fault.name, fault.strike if fault.group == FILES else in_worker(fault.name))
        for fault in FAULTS
        if fault.name in _STRUCK
    ),
    Fault(GROUP, KILLED, in_worker(KILLED)),
)
ON_RAY = Way("`check --ray`", check_on_ray, watched="final", observes=True)
