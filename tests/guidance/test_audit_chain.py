"""The chain of the audit log: whatever is done to a log, verification says so, and where."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.audit_chain import last_link, link_of, sealed_line
from latent_guard.guidance.audit_verify import Verification, verify

KEY = b"a key of twenty bytes"
ANOTHER = b"another of the twenty"
LINES = 8


def write(
    path: Path, lines: int = LINES, key: bytes | None = None, rotate_at: int | None = None, start: int = 0
) -> Path:
    for number in range(start, start + lines):
        AuditLog(path, key=key, rotate_at=rotate_at).append([{"number": number, "text": f'"sequence": {number}'}])
    return path


def problems(path: Path, key: bytes | None = None, *heads: str) -> list[str]:
    return [f"{place.file.name}:{place.line}" for place in verify([path], key, heads).problems]


@pytest.fixture(params=[None, KEY], ids=["plain", "keyed"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    found: bytes | None = request.param
    return found


@pytest.fixture
def log(tmp_path: Path, key: bytes | None) -> Path:
    return write(tmp_path / "log", key=key)


def test_a_log_as_it_was_written_is_intact_and_every_line_stands_in_it_once(log: Path, key: bytes | None) -> None:
    found = verify([log], key)
    assert (found.problems, found.gaps, found.lines, found.head.sequence) == ([], [], LINES, LINES)
    assert all(b'"hmac": ' in line if key else b'"hash": ' in line for line in log.read_bytes().splitlines())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_of_bytes_is_found(log: Path, key: bytes | None, data: st.DataObject) -> None:
    whole = log.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1), "from")
    end = data.draw(st.integers(start, min(len(whole), start + 400)), "to")
    put = data.draw(st.one_of(st.just(b""), st.binary(max_size=20), st.sampled_from(whole.splitlines(True))), "put")
    changed = whole[:start] + put + whole[end:]
    other = log.with_name("changed")
    other.write_bytes(changed)
    cut_at_a_line = whole.startswith(changed) and (not changed or changed.endswith(b"\n"))
    found = verify([other], key)
    assert found.intact == (changed == whole or cut_at_a_line)
    if cut_at_a_line and changed != whole:  # that alone takes a head which was noted before
        assert problems(other, key, verify([log], key).head.head)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(LINES)), st.integers(1, LINES))
def test_lines_that_are_reordered_or_dropped_are_found(
    log: Path, key: bytes | None, order: list[int], kept: int
) -> None:
    lines = log.read_bytes().splitlines(True)
    other = log.with_name("changed")
    other.write_bytes(b"".join(lines[n] for n in order[:kept]))
    assert verify([other], key).intact == (order[:kept] == list(range(kept)))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("changed", ["log:3"]), ("dropped", ["log:3"]), ("inserted", ["log:3"]), ("twice", ["log:4"]),
        ("first dropped", ["log:1"]), ("swapped", ["log:3", "log:4", "log:5"]),
    ],
)  # fmt: skip
def test_the_line_is_named(log: Path, key: bytes | None, name: str, found: list[str]) -> None:
    lines = log.read_bytes().splitlines(True)
    log.write_bytes(
        b"".join(
            {
                "changed": [*lines[:2], lines[2].replace(b'"number": 2', b'"number": 9'), *lines[3:]],
                "dropped": [*lines[:2], *lines[3:]],
                "inserted": [*lines[:2], b'{"number": 99}\n', *lines[2:]],
                "twice": [*lines[:3], lines[2], *lines[3:]],
                "first dropped": lines[1:],
                "swapped": [*lines[:2], lines[3], lines[2], *lines[4:]],
            }[name]
        )
    )
    assert sorted(set(problems(log, key)))[: len(found)] == found


def test_who_rewrites_a_whole_log_is_found_by_the_key_and_by_a_head(tmp_path: Path) -> None:
    keyed = write(tmp_path / "keyed", key=KEY)
    forged = write(tmp_path / "forged", lines=LINES, key=None, start=1)
    under_another = write(tmp_path / "another", lines=LINES, key=ANOTHER, start=1)
    assert problems(forged) == []  # nothing in it says that it is another
    assert problems(forged, KEY)
    assert problems(forged, None, verify([keyed], KEY).head.head)
    assert problems(under_another, KEY)
    with pytest.raises(InputError, match="LATENT_GUARD_AUDIT_KEY"):
        verify([keyed])


def test_a_key_may_come_later_but_never_goes(tmp_path: Path) -> None:
    log = write(tmp_path / "log", 3)
    write(log, 3, KEY)
    found = verify([log], KEY)
    assert (found.intact, found.unkeyed, found.lines) == (True, 3, 6)
    write(log, 1)
    assert problems(log, KEY)


def test_lines_cut_off_the_end_show_beside_a_head_that_was_noted(log: Path, key: bytes | None) -> None:
    noted = verify([log], key).head.head
    lines = log.read_bytes().splitlines(True)
    log.write_bytes(b"".join(lines[:-2]))
    assert problems(log, key) == []
    assert problems(log, key, noted) == [f"log:{LINES - 2}"]
    write(log, 5, key)
    assert problems(log, key, noted)


def test_every_head_that_was_noted_must_be_in_the_log(log: Path, key: bytes | None) -> None:
    noted, another = verify([log], key).head.head, f"{LINES}:{'0' * 64}"
    assert problems(log, key, another, noted) == problems(log, key, noted, another) == [f"log:{LINES}"]


def test_the_head_of_an_empty_log_is_in_every_log(tmp_path: Path, log: Path, key: bytes | None) -> None:
    (empty := tmp_path / "empty").touch()
    assert problems(log, key, verify([empty]).head.head) == []


def test_old_files_that_were_deleted_are_missed_unless_a_head_vouches_for_the_beginning(tmp_path: Path) -> None:
    log = write(tmp_path / "log", 20, rotate_at=900)
    first, *_ = sorted(tmp_path.glob("log.*"))
    noted = verify([first]).head.head
    first.unlink()
    assert problems(log) == ["log.000002:1"]
    assert problems(log, None, noted) == []


def test_a_log_that_is_rotated_is_one_chain(tmp_path: Path, key: bytes | None) -> None:
    log = write(tmp_path / "log", 40, key, rotate_at=1500)
    parts = sorted(tmp_path.glob("log.*"))
    assert [part.name for part in parts] == [f"log.{n:06d}" for n in range(1, len(parts) + 1)]
    assert len(parts) > 3
    assert all(part.stat().st_size <= 1500 for part in (log, *parts))
    assert verify([log], key).lines == 40
    assert verify([log, *parts], key).intact  # as a shell's pattern gives them
    parts[1].unlink()
    assert problems(log, key) == ["log.000003:1"]


def torn(log: Path, bytes_: int = 30) -> None:
    log.write_bytes(log.read_bytes()[:-bytes_])


def test_a_line_that_was_cut_off_is_marked_by_the_next_writer(log: Path, key: bytes | None) -> None:
    torn(log)
    assert problems(log, key) == [f"log:{LINES}"]
    write(log, 2, key)
    found = verify([log], key)
    assert (found.problems, [gap.line for gap in found.gaps], found.lines) == ([], [LINES], LINES - 1 + 3)
    torn(log)
    write(log, 1, key)
    assert len(verify([log], key).gaps) == 2


def test_a_line_that_lacks_its_newline_alone_is_whole(log: Path, key: bytes | None) -> None:
    torn(log, 1)
    assert problems(log, key) == [f"log:{LINES}"]
    write(log, 1, key)
    assert (problems(log, key), verify([log], key).gaps) == ([], [])


def test_a_gap_is_not_to_be_hidden_in(log: Path, key: bytes | None) -> None:
    """Neither another gap than the one that is marked, nor whole lines, nor a mark without a gap."""
    torn(log)
    write(log, 1, key)
    lines = log.read_bytes().splitlines(True)
    for changed in (
        [*lines[: LINES - 1], lines[LINES - 1][:-5] + b"\n", *lines[LINES:]],
        [*lines[: LINES - 1], *lines[LINES:]],
        [*lines[: LINES - 1], b'{"number": 99}\n', *lines[LINES - 1 :]],
    ):
        log.write_bytes(b"".join(changed))
        assert not verify([log], key).intact


def test_whole_lines_are_no_gap_even_if_a_later_line_marks_them(log: Path, key: bytes | None) -> None:
    with open(log, "ab") as file:
        file.write(b'{"number": 99}\n')
    write(log, 1, key)
    assert problems(log, key) == [f"log:{LINES + 1}"]


def test_a_log_of_before_there_was_a_chain_goes_on_in_one_and_its_lines_are_bound(
    tmp_path: Path, key: bytes | None
) -> None:
    log = tmp_path / "log"
    log.write_text('{"old": 1}\n{"old": 2}\n')
    write(log, 2, key)
    found = verify([log], key)
    assert (found.problems, [str(gap.what) for gap in found.gaps]) == ([], ["22 bytes of before there was a chain"])
    log.write_bytes(log.read_bytes().replace(b'"old": 1', b'"old": 3'))
    assert problems(log, key)


@contextmanager
def little_room(bytes_: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes; as on a full disk, a write is cut short there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("left", [0, 100])
def test_without_room_there_is_an_error_and_the_chain_is_as_before(log: Path, key: bytes | None, left: int) -> None:
    whole = log.read_bytes()
    with little_room(len(whole) + left), pytest.raises(GuardError, match="cannot write the audit log"):
        write(log, 1, key)
    assert log.read_bytes() == whole
    write(log, 1, key)
    assert (problems(log, key), verify([log], key).gaps) == ([], [])


def test_a_log_that_may_only_be_added_to_marks_what_a_full_disk_left(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "ftruncate", refused)
    key = KEY if b"hmac" in log.read_bytes() else None
    with little_room(log.stat().st_size + 100), pytest.raises(GuardError):
        write(log, 1, key)
    write(log, 1, key)
    assert [len(verify([log], key).gaps), problems(log, key)] == [1, []]


def test_a_pipe_gets_lines_without_a_chain(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    AuditLog(pipe).append([{"a": 1}])
    assert os.read(reader, 100) == b'{"a": 1}\n'
    os.close(reader)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=60) | st.integers(), min_size=1, max_size=4))
def test_no_text_of_a_line_is_taken_for_its_place(content: dict[str, str | int]) -> None:
    line, link = sealed_line(content, verify_nothing().head, None)
    assert link_of(line) == link
    assert last_link(b"junk\n" + line + line[:-20]) == (link, 5 + len(line))


def verify_nothing() -> Verification:
    return Verification()


@pytest.mark.parametrize("head", ["", "1", "1:ab", "x:" + "0" * 64, "-1:" + "0" * 64])
def test_a_head_that_is_none_is_refused(log: Path, key: bytes | None, head: str) -> None:
    with pytest.raises(InputError, match="a head is"):
        verify([log], key, [head])


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENT_GUARD_AUDIT_KEY", "short")
    with pytest.raises(InputError, match="LATENT_GUARD_AUDIT_KEY has 5 characters"):
        AuditLog(tmp_path / "log")
    monkeypatch.setenv("LATENT_GUARD_AUDIT_KEY", KEY.decode())
    write(tmp_path / "log", key=AuditLog(tmp_path / "log").key)
    assert verify([tmp_path / "log"], KEY).intact
    assert KEY.decode() not in repr(AuditLog(tmp_path / "log"))
