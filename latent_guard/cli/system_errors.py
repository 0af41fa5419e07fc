"""Errors of the machine, such as full memory or too many open files, as one line."""

from __future__ import annotations

import errno
from pathlib import Path
from traceback import extract_tb

from latent_guard.errors import reason_of
from latent_guard.files.atomic import is_full, write_failure

# What libraries say that raise RuntimeError, ImportError or OSError for it.
_OF_MEMORY = ("allocate memory", "out of memory", "not enough memory", "bad_alloc", "failed to map segment", "mmap")
_OF_FILES = ("Too many open files", "too many open files")
_OF_THREADS = ("can't start new thread", "Resource temporarily unavailable")


def line_about(error: BaseException) -> str | None:
    """The line to print for an error of the machine or of a library; None for a bug of this package."""
    chain = list(_chain(error))
    said = " ".join(str(one) for one in chain)
    numbers = {one.errno for one in chain if isinstance(one, OSError)}
    first = reason_of(error)
    if any(isinstance(one, MemoryError) for one in chain) or errno.ENOMEM in numbers or _says(said, _OF_MEMORY):
        return f"out of memory ({first}); ask for less at a time, or use a machine with more"
    if numbers & {errno.EMFILE, errno.ENFILE} or _says(said, _OF_FILES):
        return f"too many open files ({first}); raise the limit (`ulimit -n`) and run the same command again"
    if _says(said, _OF_THREADS):
        return f"no more threads can be started ({first}); raise the limit (`ulimit -u`) and run the same command again"
    if _is_of_diffusers(error):
        return f"diffusers cannot use this model ({first}); check the configs in its folder, or copy it again"
    if isinstance(error, Exception) and (reason := write_failure(error)) is not None:
        place = f"{error.filename}: " if isinstance(error, OSError) and error.filename is not None else ""
        mend = "make room, then run the same command again" if is_full(error) else "mend that and try again"
        return f"{place}{reason}; {mend}"
    return None


def _is_of_diffusers(error: BaseException) -> bool:
    """Whether an error was raised inside a call of diffusers, which validates some of a config only when it runs."""
    files = [Path(frame.filename) for frame in extract_tb(error.__traceback__)]
    owners = [part for file in files for part in ("latent_guard", "diffusers") if part in file.parts]
    return bool(owners) and owners[-1] == "diffusers"


def _says(said: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in said for phrase in phrases)


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and its causes."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
