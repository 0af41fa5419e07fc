"""A bounded queue of jobs, from which those that can be drawn together are taken together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from latent_guard.serving.jobs import Job
from latent_guard.serving.refusal import busy, unavailable

STOPPING = "the service is stopping; send the request to another one"


@dataclass(frozen=True)
class Task:
    """Something else that only the thread which draws may do; it goes before all jobs."""

    function: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class JobQueue:
    """Many threads put, one takes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """True once it takes no more."""
        return self._closed

    def put(self, job: Job, seconds_each: float) -> None:
        """Add a job; ``seconds_each`` is what one takes of late, for those that are told to come again.

        Raises:
            HTTPRefusalError: 429 if the queue is full, 503 if it is closed.
        """
        with self._changed:
            if self._closed:
                raise unavailable(STOPPING, "stopping")
            if len(self._jobs) >= self._limit:
                self._drop_over()
            if len(self._jobs) >= self._limit:
                raise busy(max(1, round(seconds_each * len(self._jobs) / 2)))
            self._jobs.append(job)
            self._changed.notify()

    def put_task(self, function: Callable[[], Any]) -> Future[Any]:
        """Have the thread that draws call a function before the next job."""
        task = Task(function)
        with self._changed:
            if self._closed:
                raise unavailable(STOPPING, "stopping")
            self._tasks.append(task)
            self._changed.notify()
        return task.future

    def take(self, images: int, join_seconds: float) -> Task | list[Job] | None:
        """The next task; or the first job, with others of its shape up to so many images; None once closed and empty.

        With ``join_seconds`` over 0 others may come until then; at 0 the first is alone.
        """
        with self._changed:
            while True:
                self._drop_over()
                if self._tasks:
                    return self._tasks.popleft()
                if self._jobs and self._joined_by_others(images, join_seconds):
                    return self._taken(images if join_seconds > 0 else 0)
                if self._closed and not self._jobs:
                    return None
                if not self._jobs:
                    self._changed.wait()

    def close(self) -> None:
        """Take no more jobs; those that are in it are drawn still."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[Job]:
        """Give up all jobs that wait."""
        with self._changed:
            jobs = list(self._jobs)
            self._jobs.clear()
            return jobs

    def _joined_by_others(self, images: int, seconds: float) -> bool:
        """Wait for others of the first job's shape; False if it was given up meanwhile."""
        first, until = self._jobs[0], time.monotonic() + seconds
        while sum(job.images for job in self._jobs if job.shape == first.shape) < images:
            if self._closed or (left := until - time.monotonic()) <= 0:
                break
            self._changed.wait(left)
        return bool(self._jobs)

    def _taken(self, images: int) -> list[Job]:
        first = self._jobs.popleft()
        taken, room = [first], images - first.images
        for job in [job for job in self._jobs if job.shape == first.shape]:
            if job.images <= room:
                room -= job.images
                taken.append(job)
                self._jobs.remove(job)
        return taken

    def _drop_over(self) -> None:
        """Drop what nobody waits for."""
        for job in [job for job in self._jobs if job.over]:
            self._jobs.remove(job)
            job.future.cancel()
