"""What a user meets before any Ray is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from latent_guard.errors import InputError
from latent_guard.serving.bulk.check import CheckJob
from latent_guard.serving.bulk.cluster import connected

COMMANDS = {
    "encode": ["encode", "source", "out", "--shard", "1/2", "--ray", "local"],
    "bench run": ["bench", "run", "emoji", "--shard", "1/2", "--ray", "local"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_work_is_shared_in_one_way(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "latent_guard", *COMMANDS[command]], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --ray shares the work between its machines itself; leave --shard out\n"
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_rays_client_is_refused() -> None:
    with pytest.raises(InputError, match="give host:port, auto or local"), connected("ray://head:10001"):
        pass


@pytest.mark.slow
def test_a_machine_with_another_bank_of_that_name_checks_nothing() -> None:
    with pytest.raises(InputError, match="another guard or bank"):
        CheckJob(None, None, None, "0123456789abcdef", False, False).open()
