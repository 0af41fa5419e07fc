"""`python -m benchmarks.emoji_world`, as a person types it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_an_unknown_row_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks.emoji_world", "emoji", "--rows", "nonesuch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "risky_unguarded" in done.stderr
    assert len(done.stderr.splitlines()) == 1
