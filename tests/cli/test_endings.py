"""How a command ends when it is stopped, cannot print, or runs out of something: quietly, or with one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.errors import InputError

Command = Callable[..., Any]
COMMAND = [sys.executable, "-m", "latent_guard"]


@pytest.mark.parametrize(
    "arguments", [["policy", "check", "safe"], ["audit", "summary", "{log}", "--json"], ["--help"]]
)
def test_a_full_stdout_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *(part.format(log=log) for part in arguments)], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "No space left" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "policy", "check", "safe"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_cleans_up(
    latent_guard_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    from latent_guard.files.atomic import atomic_file
    from latent_guard.guidance import policy_file

    def stopped(_: str) -> None:
        with atomic_file(tmp_path / "model") as partial:
            partial.write_bytes(b"half")
            os.kill(os.getpid(), number)
            time.sleep(5)

    monkeypatch.setattr(policy_file, "policy_named", stopped)
    before = signal.getsignal(signal.SIGTERM)
    if number is signal.SIGINT:  # which a shell has its background jobs ignore, pytest among them
        handled = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, handled))
    try:
        done = latent_guard_command("policy", "check", "safe")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (done.code, done.out) == (code, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EMFILE, "Too many open files", "x"), "ulimit -n"),
        (RuntimeError("unable to open file </x> in read-only mode: Too many open files (24)"), "ulimit -n"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "make room"),
        (InputError("\x1b[31m" + "x" * 10_000), "\\x1b[31m"),
    ],
)  # fmt: skip
def test_running_out_of_something_is_one_line_that_says_of_what(
    latent_guard_command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    from latent_guard.guidance import policy_file

    def failing(_: str) -> None:
        raise error

    monkeypatch.setattr(policy_file, "policy_named", failing)
    done = latent_guard_command("policy", "check", "safe")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert len(done.err) < 1000


def test_a_fault_of_our_own_is_not_hidden(latent_guard_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from latent_guard.guidance import policy_file

    def faulty(_: str) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(policy_file, "policy_named", faulty)
    with pytest.raises(KeyError):
        latent_guard_command("policy", "check", "safe")
