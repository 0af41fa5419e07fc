"""One pipeline, the guard in force, and the one thread that draws."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from latent_guard.errors import FittedForOtherError, InputError, LatentGuardError
from latent_guard.serving.generation import Generation, GivenUpError
from latent_guard.serving.in_force import InForce, weights_of
from latent_guard.serving.job_queue import STOPPING, JobQueue, Task
from latent_guard.serving.jobs import Job, Shape
from latent_guard.serving.metrics import Metrics
from latent_guard.serving.refusal import bad_request, failed, unavailable
from latent_guard.serving.settings import JOIN_SECONDS, Settings
from latent_guard.serving.warm_up import require_sizes, warmed_up

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.review.store import ReviewStore

_LOGGER = logging.getLogger(__name__)
NOT_CHECKED = "the guard could not check what was drawn, so no image is handed out"
OTHERWISE = "the policy in force refuses steps and sizes that the guard was not fitted for; leave them out"


class Service:
    """Draws what it is asked for, in one thread; all methods may be called from any other."""

    def __init__(
        self,
        pipe: Any,
        guard: LatentGuard,
        settings: Settings,
        arguments: Mapping[str, Any],
        model: str = "latent-guard",
        review: ReviewStore | None = None,
    ) -> None:
        """Nothing is drawn before ``start``.

        Args:
            pipe: a pipeline of pictures, which nobody else calls meanwhile.
            guard: the guard that is in force at first; its audit log hears of every image.
            settings: the limits.
            arguments: of each call of the pipeline; ``num_inference_steps`` is what clients get who name none.
            model: the name that clients may give.
            review: keeps withheld images; "blur" needs it.

        Raises:
            InputError: "blur" without a place for the originals, or no number of steps.
        """
        if settings.on_block == "blur" and review is None:
            raise InputError("on_block blur needs a folder and a review key for the images as they were")
        self.settings, self.model, self.pipe = settings, model, pipe
        self.steps = int(arguments["num_inference_steps"])
        self.max_steps = settings.max_steps or self.steps
        self.metrics = Metrics()
        self.queue = JobQueue(settings.queue)
        self.failed: Exception | None = None  # why it could not start
        self.own_size = ""
        self._generation = Generation(pipe, guard.model, arguments, review)
        looks = self._generation.shape.looks
        looks.function = self.metrics.looking(looks.function)
        self._first = guard
        self._in_force: InForce | None = None
        self._seconds_each = 1.0  # a request, of late
        self._began = 0.0
        self._thread = threading.Thread(target=self._work, name="latent-guard-drawing", daemon=True)

    @property
    def in_force(self) -> InForce:
        """The guard in force; ``HTTPRefusalError`` (503) until the first has passed its warm-up, and while stopping."""
        if self.failed is not None or self._in_force is None:
            raise unavailable("the service is not ready yet; try again soon", "not_ready")
        return self._in_force

    @property
    def guard(self) -> LatentGuard:
        """That guard itself."""
        return self.in_force.guard

    def start(self, on_failure: Callable[[], None] = lambda: None) -> Future[None]:
        """Begin with the warm-up; ``on_failure`` is called if the service can never be ready, which ``failed`` says."""

        def first() -> None:
            try:
                weights = weights_of({**self.pipe.components, "latent_clip": self._first.model})
                found = self._warmed_up(self._first, {"model": self.model, "weights": weights})
                require_sizes(self._generation, self._first, self.steps, self.settings.sizes)
                self._put_in_force(found)
            except Exception as error:
                self.failed = error
                on_failure()
                raise

        began = self.queue.put_task(first)
        self._thread.start()
        return began

    def replace_guard(self, guard: LatentGuard) -> Future[InForce]:
        """Put another guard in force once it has passed its warm-up; whatever is being drawn is judged by the old one.

        If it does not pass, the old one stays in force and the future has the error.
        """

        def swap() -> InForce:
            known = {name: self.in_force.posture[name] for name in ("model", "weights")}
            self._put_in_force(self._warmed_up(guard, known))
            return self.in_force

        return self.queue.put_task(swap)

    def submit(self, job: Job) -> None:
        """Have a job drawn.

        Raises:
            HTTPRefusalError: the queue is full, or the service not ready or stopping.
        """
        _ = self.in_force
        self.queue.put(job, self._seconds_each)

    def stop(self) -> bool:
        """Finish what was accepted, within the grace; False if some was given up."""
        self.queue.close()
        if self._thread.is_alive():
            self._thread.join(self.settings.grace)
        left = [*self.queue.clear(), *self._generation.drawing]
        for job in left:
            job.gone = True
            _fail(job, unavailable(STOPPING, "stopping"))
        return not left and not self._thread.is_alive()

    def _warmed_up(self, guard: LatentGuard, known: Mapping[str, Any]) -> InForce:
        found, self.own_size = warmed_up(self._generation, guard, Shape(self.steps), self.settings.max_batch)
        posture = {**known, "on_block": self.settings.on_block, **found.posture}
        return InForce(guard, posture, found.together)

    def _put_in_force(self, found: InForce) -> None:
        self._in_force = found
        self.metrics.in_force(fails_open=found.guard.policies.on_error == "open")

    def _work(self) -> None:
        while True:
            together = 1 if self._in_force is None else self._in_force.together
            taken = self.queue.take(together, JOIN_SECONDS if together > 1 else 0.0)
            if taken is None:
                return
            if isinstance(taken, Task):
                _do(taken)
            else:
                self._draw([job for job in taken if job.future.set_running_or_notify_cancel()])
            del taken  # images are not held until the next job comes

    def _draw(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        began = time.monotonic()
        try:
            drawn = self._generation.draw(jobs, self.in_force)
        except GivenUpError:
            for job in jobs:
                _fail(job, unavailable("nobody waits for it any longer", "given_up"))
        except Exception as error:
            if len(jobs) > 1:  # what is wrong with one does not cost the others theirs
                for job in jobs:
                    self._draw([job])
                return
            self._report(jobs[0], error)
        else:
            self.metrics.drawn(drawn, jobs[0].shape.steps)
            for job, one in zip(jobs, drawn, strict=True):
                with suppress(InvalidStateError):  # it was given up at the end of the grace
                    job.future.set_result(one)
        self._seconds_each += 0.2 * ((time.monotonic() - began) / len(jobs) - self._seconds_each)

    def _report(self, job: Job, error: Exception) -> None:
        """Fail a job: with 503 where the guard could not check or write down, else as whatever it is."""
        if isinstance(error, FittedForOtherError):
            _fail(job, bad_request(OTHERWISE, code="not_fitted"))
            return
        of_guard = isinstance(error, LatentGuardError)
        self.metrics.fault("guard" if of_guard else "pipeline")
        _LOGGER.error("request %s failed (%s: %s)", job.id, type(error).__name__, error, exc_info=error)
        _fail(job, unavailable(NOT_CHECKED, "could_not_check", "guard_error") if of_guard else failed())


def _do(task: Task) -> None:
    if task.future.set_running_or_notify_cancel():
        try:
            task.future.set_result(task.function())
        except Exception as error:
            task.future.set_exception(error)


def _fail(job: Job, error: Exception) -> None:
    with suppress(InvalidStateError):  # it was answered meanwhile
        job.future.set_exception(error)
