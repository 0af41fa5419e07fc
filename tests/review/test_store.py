"""What a server keeps can be read with the review key alone, and not for longer than it was to be kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from latent_guard.errors import InputError
from latent_guard.review.keys import make_keys, read_private_key, read_public_key
from latent_guard.review.queue import Item, ReviewQueue, Unreadable
from latent_guard.review.store import ReviewStore, purge
from latent_guard.review.withheld import MAX_TEXT, opened
from tests.review.conftest import RED, Room, picture, verdict_of

HOSTILE = {
    "prompt": "<script>window.hacked = 1</script>\ud800\0\u202e {{ 7 * 7 }}",
    "../../etc/passwd": "a\nb",
    "long": "x" * (2 * MAX_TEXT),
}
WRITER = """
import sys
from tests.review.conftest import Room, picture, verdict_of
from pathlib import Path
store = Room(Path(sys.argv[1]), Path(sys.argv[2])).store()
for number in range(25):
    store.keep(picture(), verdict_of(), {"prompt": f"{sys.argv[3]} {number}"})
"""


def test_what_was_kept_is_what_the_key_opens(room: Room) -> None:
    item = room.store().keep(picture(), verdict_of(), {"prompt": "a pirate party"})
    found = room.queue.open(item)
    assert found.details.verdict == verdict_of()
    assert found.details.about == {"prompt": "a pirate party"}
    assert found.picture().getpixel((3, 3)) == RED
    (file,) = room.folder.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == (f"{item}.withheld", 0o600)
    assert room.folder.stat().st_mode & 0o777 == 0o700
    assert b"pirate" not in file.read_bytes()
    assert b"PNG" not in file.read_bytes()


def test_another_key_opens_nothing_and_says_so(room: Room, tmp_path: Path) -> None:
    item = room.store().keep(picture(), verdict_of(), {})
    make_keys(tmp_path / "other")
    other = ReviewQueue(room.folder, read_private_key(tmp_path / "other"))
    with pytest.raises(InputError, match="written for another review key"):
        other.open(item)
    assert [type(one) for one in other.items()] == [Unreadable]


def test_every_byte_that_is_flipped_and_every_cut_is_refused(room: Room) -> None:
    item = room.store().keep(picture(), verdict_of(), {"prompt": "a"})
    whole, key = (room.folder / f"{item}.withheld").read_bytes(), read_private_key(room.key)
    assert opened(whole, key).details.about == {"prompt": "a"}
    for place in range(len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        for content in (flipped, whole[:place]):
            with pytest.raises(InputError):
                opened(content, key)


def test_a_file_under_another_images_name_is_refused(room: Room) -> None:
    store = room.store()
    first, second = (store.keep(picture(), verdict_of(), {}) for _ in range(2))
    (room.folder / f"{first}.withheld").rename(room.folder / f"{second}.withheld")
    with pytest.raises(InputError, match="it was renamed"):
        room.queue.open(second)


def test_hostile_texts_come_back_as_they_were_and_long_ones_are_cut(room: Room) -> None:
    item = room.store().keep(picture(), verdict_of("a <b>"), HOSTILE)
    details = room.queue.open(item).details
    assert details.about == {**HOSTILE, "long": "x" * MAX_TEXT}
    assert details.verdict.category == "a <b>"


@pytest.mark.parametrize("item", ["../key", "", "a" * 31, "A" * 32, "a" * 32 + "\n", "0" * 32])
def test_what_is_no_id_opens_no_file(room: Room, item: str) -> None:
    room.store()
    with pytest.raises(InputError):
        room.queue.open(item)


def test_when_its_days_are_over_an_image_is_not_shown_and_then_deleted(room: Room) -> None:
    kept = room.store().keep(picture(), verdict_of(), {})
    brief = room.store(keep_days=0.5 / 86_400).keep(picture(), verdict_of(), {})
    assert purge(room.folder) == 0
    time.sleep(0.6)
    with pytest.raises(InputError, match="days that it was to be kept are over"):
        room.queue.open(brief)
    room.store()  # opened again
    assert [path.stem for path in room.folder.iterdir()] == [kept]


def test_the_clock_of_an_image_cannot_be_put_back(room: Room) -> None:
    """It is in the header, which anybody reads: altered, the image is not opened at all."""
    item = room.store(keep_days=0.3 / 86_400).keep(picture(), verdict_of(), {})
    path = room.folder / f"{item}.withheld"
    content = bytearray(path.read_bytes())
    content[35] += 1  # 13 days more: the sixth lowest byte of microseconds since 1970
    path.write_bytes(content)
    with pytest.raises(InputError, match="it was altered"):
        room.queue.open(item)


def test_damaged_and_foreign_files_are_listed_and_hide_no_other(room: Room, three: Callable[[], list[str]]) -> None:
    good = three()
    in_the_year_2540 = bytes(24) + b"\0\x40" + bytes(500)
    for name, content in zip(
        "1234", (b"", b"LGREVIEW\2" + bytes(90), b"LGREVIEW\1" + in_the_year_2540, b"x" * 999), strict=True
    ):
        (room.folder / f"{name * 32}.withheld").write_bytes(content)
    (room.folder / f"{'5' * 32}.withheld").mkdir()
    (room.folder / "notes.txt").write_text("not ours")
    found = list(room.queue.items())
    assert [one.header.id for one in found if isinstance(one, Item)] == good
    assert [one.name[0] for one in found if isinstance(one, Unreadable)] == list("12345")
    assert purge(room.folder) == 0


def test_two_processes_keep_images_at_once(room: Room) -> None:
    command = [sys.executable, "-c", WRITER, str(room.folder), str(room.key)]
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([*command, name], cwd=root) for name in ("one", "other")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    prompts = {one.details.about["prompt"] for one in room.queue.items() if isinstance(one, Item)}
    assert prompts == {f"{name} {number}" for name in ("one", "other") for number in range(25)}


def test_what_a_killed_writer_left_is_cleared_away(room: Room) -> None:
    store = room.store()
    left = room.folder / f"{'1' * 32}.withheld.{'2' * 32}.part"
    left.write_bytes(b"LGREVIEW")
    assert store.purge() == 0
    assert left.exists()
    os.utime(left, (0, 0))
    store.purge()
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_one_line(room: Room, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    public = read_public_key(f"{room.key}.pub")
    with pytest.raises(InputError, match="cannot write"):
        ReviewStore(tmp_path / "file", public)
    with pytest.raises(InputError, match="days that images are kept"):
        ReviewStore(tmp_path / "other", public, keep_days=0)


def test_a_server_is_given_the_public_half_alone(room: Room, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.pub"):
        read_public_key(room.key)
    with pytest.raises(InputError, match="no private review key"):
        read_private_key(f"{room.key}.pub")
    (tmp_path / "nothing").write_text("nothing")
    with pytest.raises(InputError, match="no public review key"):
        read_public_key(tmp_path / "nothing")
    with pytest.raises(InputError, match="exists"):
        make_keys(room.key)
