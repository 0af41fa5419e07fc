"""The service on Ray Serve: ``serve run latent_guard.serving.ray:app``, or with the YAML file beside this one.

Each replica is a process with one pipeline, on a GPU of its own where the cluster has any. Keys come by the environment
of the machines, as ``latent-guard serve`` takes them; here there must be some, since a cluster's address is open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from latent_guard.building import build
from latent_guard.errors import InputError

STEPS = 20
_ENOUGH_AT_A_TIME = 2  # requests a replica, on the mean, above which another one is started; batches of them are drawn


@dataclass(frozen=True)
class Options:
    """The ``args`` of the application.

    Attributes:
        model: as ``latent-guard serve`` takes it.
        guard: guard folder or hub id; None: the model's own.
        policy: policy by name or file; None: the guard's own.
        on_block: what becomes of withheld images, "neutral" or "raise".
        audit: a folder that gets a log for each machine; None: no log.
        reload: a folder that all replicas watch for a ``policy.yaml`` and ``bank/``.
        min_replicas: that there are at the least.
        max_replicas: that there are at the most.
        max_batch: images that a replica draws together.
        queue: requests that may wait at a replica.
        deadline: seconds for a request.
        grace: seconds in which a replica that is to stop may finish.
        cpus: cores that each replica takes.
    """

    model: str = "shipped"
    guard: str | None = None
    policy: str | None = None
    on_block: str = "neutral"
    audit: str | None = None
    reload: str | None = None
    min_replicas: int = 1
    max_replicas: int = 1
    max_batch: int = 4
    queue: int = 64
    deadline: float = 60.0
    grace: float = 30.0
    cpus: float = 1.0


def app(args: dict[str, Any]) -> Any:
    """The application that ``serve run`` deploys.

    Raises:
        InputError: unknown or wrong ``args``.
    """
    from latent_guard.serving.bulk.cluster import has_gpus
    from latent_guard.serving.replicas import deployed

    options = build(Options, args, "args")
    gpus = 1 if has_gpus() else 0
    replica = {
        "ray_actor_options": {"num_gpus": gpus, "num_cpus": options.cpus},
        "autoscaling_config": {
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": _ENOUGH_AT_A_TIME * options.max_batch,
        },
        "max_ongoing_requests": options.queue + options.max_batch,
        "graceful_shutdown_timeout_s": options.grace,
    }
    front = {
        "ray_actor_options": {"num_cpus": 0.1},
        "autoscaling_config": {"min_replicas": 1, "max_replicas": options.max_replicas, "target_ongoing_requests": 64},
        "max_ongoing_requests": options.max_replicas * (options.queue + options.max_batch),
    }
    return deployed(partial(begun, options), replica, front)


def begun(options: Options) -> tuple[Any, Callable[[], object]]:
    """A service in this process that has passed its warm-up, as an ASGI application, and what stops it.

    Raises:
        InputError: there are no API keys in the environment, or something that the options name is not there.
        GuardError: the guard did not judge the warm-up image.
    """
    from latent_guard.guidance.policy_file import policy_named
    from latent_guard.loading import load_guard, load_pipeline, usual_arguments
    from latent_guard.serving.app import create_app
    from latent_guard.serving.reloading import Reloading, with_parts_of
    from latent_guard.serving.service import Service

    settings = _settings(options)
    arguments = {"num_inference_steps": STEPS, **usual_arguments(options.model, options.guard)}
    pipe = load_pipeline(options.model, arguments["num_inference_steps"], max(options.max_batch, settings.max_images))
    pipe.set_progress_bar_config(disable=True)
    policy = policy_named(options.policy) if options.policy else None
    guard = load_guard(options.model, options.guard, None, policy, _audit_log(options))
    watched = Path(options.reload) if options.reload else None
    service = Service(pipe, with_parts_of(watched, guard) if watched else guard, settings, arguments, options.model)
    service.start().result()
    reloading = Reloading(service, watched)
    reloading.watch()

    def stop() -> None:
        reloading.stop()
        service.stop()

    return create_app(service, reloading), stop


def _settings(options: Options) -> Any:
    from latent_guard.serving.settings import KEYS, Settings, secrets_of

    keys, _ = secrets_of()  # no admin: a request reaches one replica, and a watched folder all of them
    if not keys:
        raise InputError(f"a service on Ray can be reached by others; name the keys that they must bring in {KEYS}")
    limits: Mapping[str, Any] = {name: getattr(options, name) for name in ("max_batch", "queue", "deadline", "grace")}
    return Settings(on_block=options.on_block, keys=keys, **limits)  # type: ignore[arg-type]  # it refuses others


def _audit_log(options: Options) -> Any:
    """A log for all replicas of this machine; an ``InputError`` where it cannot be written."""
    from latent_guard.guidance.audit import AuditLog

    if options.audit is None:
        return None
    return AuditLog.opened(Path(options.audit) / f"{os.uname().nodename}.jsonl")
