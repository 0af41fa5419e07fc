"""``make test`` gets a browser where it can, and says in a line why not where it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "chromium"
IS_DEBIAN = (
    "ID=debian" in Path("/etc/os-release").read_text().splitlines() if Path("/etc/os-release").exists() else False
)


def said(tmp_path: Path, **commands: str) -> str:
    """What the script prints where only these commands are on the path, each a line of shell."""
    for name, line in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT)], capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_with_a_browser_nothing_is_done_and_nothing_said(tmp_path: Path) -> None:
    assert said(tmp_path, chromium="exit 1", id="exit 1") == ""


def test_who_is_not_root_is_told_in_a_line_what_is_missing(tmp_path: Path) -> None:
    line = said(tmp_path, id="echo 1000")
    assert line.count("\n") == 1
    assert "install the package chromium" in line


@pytest.mark.skipif(not IS_DEBIAN, reason="only on Debian is anything installed")
@pytest.mark.parametrize(
    ("apt", "says"),
    [
        ("echo noise; exit 0", "installed chromium"),
        ("echo 'could not resolve' >&2; exit 100", "cannot be installed (is there a network?)"),
        ('case "$*" in *install*) exit 100;; esac', "cannot be installed"),
    ],
)
def test_root_on_debian_installs_it_or_hears_in_a_line_that_it_could_not(tmp_path: Path, apt: str, says: str) -> None:
    line = said(tmp_path, id="echo 0", **{"apt-get": apt})
    assert line.count("\n") == 1
    assert says in line
