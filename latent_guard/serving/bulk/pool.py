"""A pool of workers on Ray: pieces of work go in, and what comes of them comes out in the same order."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from latent_guard.errors import InputError, reason_of
from latent_guard.serving.bulk.cluster import capacity

Piece = TypeVar("Piece")
Result = TypeVar("Result")
PieceIn = TypeVar("PieceIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)
_IN_FLIGHT = 2  # pieces a worker: the one that it works on, and the next
_DEATHS = 5  # of workers at one piece, before the piece is taken for their cause


class Job(Protocol[PieceIn, ResultOut]):
    """What each worker is sent; it must be picklable."""

    def open(self) -> Callable[[PieceIn], ResultOut]:
        """Load the models on the worker's machine, and give what works on one piece after another."""
        ...


def results_of(job: Job[Piece, Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """What the workers of the connected cluster make of each piece, in the order of the pieces.

    A worker opens the job once. If a worker dies, another one does its piece again. Beside what the workers hold, no
    more results wait for the caller than Ray's memory for objects takes.

    Raises:
        Exception: what a worker's piece raised, as it would have been raised here.
        InputError: workers died again and again at one piece.
    """
    if not pieces:
        return
    from ray.exceptions import RayActorError

    try:
        for row in _made(job, pieces).iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, Exception):
                raise result
            yield result
    except RayActorError as error:
        raise InputError(
            f"workers of the Ray cluster died again and again ({reason_of(error)}); see whether a machine's memory "
            "suffices, then run the same command again: what is finished is kept"
        ) from error


def _made(job: Job[Any, Any], pieces: Sequence[Any]) -> Any:
    """The data set of what the workers make, not yet begun: one row a piece."""
    import ray.data
    import torch

    threads = torch.get_num_threads()
    rows = [{"piece": pickle.dumps(piece)} for piece in pieces]
    data = _settled(ray.data.from_items(rows, override_num_blocks=len(rows)))
    room = capacity(threads)
    size = min(room.workers, len(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that limits of deaths are to be named otherwise; there is no other name yet
        return data.map_batches(
            _Worker,
            fn_constructor_args=(pickle.dumps(job), os.getcwd(), threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=_IN_FLIGHT),
            num_cpus=room.cpus,
            num_gpus=room.gpus,
            max_restarts=-1,
            max_task_retries=_DEATHS,
        )


def _settled(data: Any) -> Any:
    """The same data set, whose results come in order, however long a piece takes, and with nothing on the terminal."""
    settings = data.context
    settings.execution_options.preserve_order = True
    settings.execution_no_progress_timeout_s = -1
    settings.max_consecutive_actor_init_deaths = _DEATHS
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    return data


class _Worker(Generic[Piece, Result]):
    """One worker of the pool, in the folder and with the threads of the process that asked for the work.

    What a piece raises is returned: it would be raised again by another worker, so that Ray need not try.
    """

    def __init__(self, job: bytes, folder: str, threads: int) -> None:
        self._job, self._folder, self._threads = job, folder, threads
        self._run: Callable[[Piece], Result] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"result": [pickle.dumps(self._result(piece)) for piece in batch["piece"]]}

    def _result(self, piece: bytes) -> Result | Exception:
        try:
            if self._run is None:
                self._run = self._opened()
            return self._run(pickle.loads(piece))
        except Exception as error:
            return error

    def _opened(self) -> Callable[[Piece], Result]:
        import torch

        try:
            os.chdir(self._folder)  # names of files and models mean the same
        except OSError as error:
            raise InputError(
                f"{self._folder} is not to be found on {os.uname().nodename} ({error.strerror}); run the command in a "
                "folder that all machines of the cluster share"
            ) from error
        torch.set_num_threads(self._threads)
        job: Job[Piece, Result] = pickle.loads(self._job)
        return job.open()
