"""An audit log that many processes and threads write at once, some of which are killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.audit_verify import log_files, verify

KEY = b"a key of twenty bytes"
LINES, WRITERS, KILLED = 60, 8, 4
WRITER = """
import sys
from pathlib import Path
from latent_guard.guidance.audit_file import append_lines
path, who, bytes_, rotate_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) or None
for number in range({lines}):
    append_lines(path, [{{"who": who, "number": number, "x": "x" * bytes_}}] * 2, {key!r}, rotate_at)
    print(number, flush=True)
"""


def started(path: Path, bytes_: int, rotate_at: int = 0, lines: int = LINES) -> list[subprocess.Popen[bytes]]:
    code = WRITER.format(lines=lines, key=KEY)
    arguments = [sys.executable, "-c", code, str(path)]
    return [
        subprocess.Popen([*arguments, str(who), str(bytes_), str(rotate_at)], stdout=subprocess.PIPE)
        for who in range(WRITERS)
    ]


def by_writer(files: Sequence[Path]) -> dict[str, list[int]]:
    """The numbers of the lines of each writer, in the order of the log."""
    found: dict[str, list[int]] = {}
    for line in (line for file in files for line in file.read_bytes().splitlines()):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if "who" in content:
            found.setdefault(content["who"], []).append(content["number"])
    return found


@pytest.mark.parametrize("rotate_at", [0, 200_000])
def test_processes_that_share_a_log_leave_one_chain(tmp_path: Path, rotate_at: int) -> None:
    path = tmp_path / "log"
    assert [writer.wait() for writer in started(path, 1000, rotate_at) if writer.communicate()] == [0] * WRITERS
    found = verify([path], KEY)
    assert (found.problems, found.gaps, found.lines) == ([], [], WRITERS * LINES * 2)
    twice = [number for number in range(LINES) for _ in range(2)]
    assert by_writer(log_files([path])) == {str(who): twice for who in range(WRITERS)}
    assert len(log_files([path])) > 3 if rotate_at else len(log_files([path])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rotate_at", [0, 20_000_000])
def test_writers_that_are_killed_leave_nothing_but_marked_gaps(tmp_path: Path, rotate_at: int) -> None:
    """Lines of a megabyte: a kill in mid-line is likely. What a writer had reported stands in the log."""
    path, chance = tmp_path / "log", random.Random(rotate_at)
    writers = started(path, 1_000_000, rotate_at, lines=15)
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers[:KILLED]:
        time.sleep(chance.uniform(0, 0.3))
        writer.kill()
    reported = [len((writer.communicate()[0] or b"").split()) + 1 for writer in writers]
    AuditLog(path, key=KEY, rotate_at=rotate_at or None).append([{"who": "last", "number": 0}])
    found = verify([path], KEY)
    assert found.problems == []
    written = by_writer(log_files([path]))
    assert all(len(written[str(who)]) >= 2 * count for who, count in enumerate(reported))
    assert [written[str(who)][-1] for who in range(KILLED, WRITERS)] == [14] * (WRITERS - KILLED)


def test_threads_that_share_a_log_leave_one_chain(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", key=KEY, rotate_at=5000)
    threads = [
        threading.Thread(target=lambda: [log.append([{"number": n}]) for n in range(50)]) for _ in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify([log.path], KEY)
    assert (found.problems, found.gaps, found.lines) == ([], [], WRITERS * 50)
