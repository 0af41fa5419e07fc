"""``bench run`` on Ray: calls of a pipeline, each made and judged by a worker, and kept by who asked for the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.devices import best_device
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.bench.runs.execute import MadeUnit
    from latent_guard.bench.runs.plan import Unit
    from latent_guard.bench.runs.run import Opened
    from latent_guard.bench.spec import Spec


@dataclass(frozen=True)
class EnvironmentJob:
    """What a run on this cluster is made by: pipeline, guard and methods as a worker opens them.

    One worker does this before any other begins, so that what methods keep in ``cache`` is made once.
    """

    spec: Spec
    cache: Path

    def open(self) -> Callable[[None], dict[str, Any]]:
        environment = opened_spec(self.spec, self.cache, best_device()).environment
        return lambda _: environment


@dataclass(frozen=True)
class BenchJob:
    """A spec, and the environment that all of its images are to be made by."""

    spec: Spec
    cache: Path
    environment: dict[str, Any]

    def open(self) -> Callable[[Unit], MadeUnit]:
        """
        Raises:
            InputError: this machine has another pipeline, guard or version of the package.
        """
        from latent_guard.bench.runs.execute import made_unit
        from latent_guard.bench.runs.identity import difference

        opened = opened_spec(self.spec, self.cache, best_device())
        if key := difference(self.environment, opened.environment):
            raise InputError(f"machines of the cluster differ in their {key}; install and copy the same to all of them")
        return partial(made_unit, opened.bench)


def opened_spec(spec: Spec, cache: Path, device: str) -> Opened:
    """A spec with its pipeline and all else that it names, on a device.

    Raises:
        InputError: as ``open_spec``.
    """
    from latent_guard.bench.baselines.registry import RENO
    from latent_guard.bench.prompts.protocols import protocol_of
    from latent_guard.bench.runs.run import bundle_of, open_spec
    from latent_guard.loading import load_pipeline
    from latent_guard.package_data import SHIPPED

    differentiates = any(method.name == RENO for method in spec.methods)
    half = "bfloat16" if differentiates else "float16"
    model = None if spec.model == SHIPPED else spec.model
    # At the least: protocols have calls of their own, down to single images.
    images = 1 if all(protocol_of(task).name for task in spec.tasks) else spec.batch_size
    pipe = load_pipeline(model, spec.steps, images, half).to(device)
    pipe.set_progress_bar_config(disable=True)
    return open_spec(spec, pipe, bundle_of(spec), cache)
