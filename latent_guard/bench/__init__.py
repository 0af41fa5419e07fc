"""Measuring safety methods: a task is prompts, a generator, judges and metrics; a spec names them, a run makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.bench.baselines.base import Baseline
    from latent_guard.bench.judges.base import FunctionJudge, Judge, Judgement
    from latent_guard.bench.judges.registry import open_judge
    from latent_guard.bench.prompts.protocols import BenchmarkProtocol
    from latent_guard.bench.runs.run import evaluate
    from latent_guard.bench.spec import Spec
    from latent_guard.bench.spec_file import read_spec
    from latent_guard.bench.task import MethodSpec, TaskSpec
    from latent_guard.bench.world import World

__all__ = [
    "Baseline",
    "BenchmarkProtocol",
    "FunctionJudge",
    "Judge",
    "Judgement",
    "MethodSpec",
    "Spec",
    "TaskSpec",
    "World",
    "evaluate",
    "open_judge",
    "read_spec",
]

_MODULES = {
    "baselines.base": ("Baseline",),
    "judges.base": ("FunctionJudge", "Judge", "Judgement"),
    "judges.registry": ("open_judge",),
    "prompts.protocols": ("BenchmarkProtocol",),
    "runs.run": ("evaluate",),
    "spec": ("Spec",),
    "spec_file": ("read_spec",),
    "task": ("MethodSpec", "TaskSpec"),
    "world": ("World",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
