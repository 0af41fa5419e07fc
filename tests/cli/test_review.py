"""``latent-guard review``'s own commands; the page itself is tried in tests/review."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.review.keys import read_public_key
from latent_guard.review.store import DAY, ReviewStore
from tests.review.conftest import picture, verdict_of

Command = Callable[..., Any]


def test_a_key_is_made_once_and_what_is_over_is_deleted_without_it(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    made = latent_guard_command("review-key", tmp_path / "key")
    assert (made.code, made.out.count("\n")) == (0, 2)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert latent_guard_command("review-key", tmp_path / "key").code == 2
    store = ReviewStore(tmp_path / "withheld", read_public_key(tmp_path / "key.pub"), keep_days=0.2 / DAY)
    store.keep(picture(), verdict_of(), {})
    time.sleep(0.3)
    assert latent_guard_command("review-purge", tmp_path / "withheld").out == "deleted 1 images\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("review", "absent", "--key", "key"), "no folder of withheld images"),
        (("review", ".", "--key", "absent"), "absent"),
        (("review", ".", "--key", "key.pub"), "no private review key"),
        (("review", "."), "--key"),
        (("review-purge", "absent"), "no folder of withheld images"),
        (("review-key", "."), "is a folder"),
    ],
)
def test_a_folder_or_key_that_is_none_is_one_line(
    latent_guard_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    latent_guard_command("review-key", "key")
    done = latent_guard_command(*arguments)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert says in done.err


def test_without_the_extra_the_line_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['cryptography'] = None; from latent_guard.cli import main; main()"
    command = [sys.executable, "-c", script, "review-key", str(tmp_path / "key")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: cryptography is not installed; run pip install 'latent-guard[serve]'\n"
