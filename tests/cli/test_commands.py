from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "generate"),
        (["generate"], "--safe"),
        (["train"], "RECIPE"),
        (["bench"], "i2p"),
        (["world", "emoji"], "preview"),
        (["world", "emoji", "build"], "--fast"),
    ],
)
def test_each_command_explains_itself(latent_guard_command: Command, arguments: list[str], named: str) -> None:
    done = latent_guard_command(*arguments, "--help")
    assert done.code == 0
    assert named.lower() in done.out.lower()


@pytest.mark.parametrize("arguments", [["generate"], ["generate", "a cat", "--policy", "hope"], ["nonesuch"]])
def test_wrong_usage_exits_with_code_2_and_no_traceback(latent_guard_command: Command, arguments: list[str]) -> None:
    done = latent_guard_command(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_recipe_that_cannot_be_read_is_refused_in_one_line(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command("train", tmp_path / "absent.yaml")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "absent.yaml" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_preview_is_a_picture_of_the_world(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command("world", "emoji", "preview", "--out", tmp_path / "sheet.png", "--seed", 1)
    assert done.code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 64
    assert latent_guard_command("world", "emoji", "preview", "--out", "/proc/x/sheet.png").code == 2


def test_a_file_that_cannot_be_moved_into_place_leaves_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "000.png").mkdir()
    with pytest.raises(InputError, match=r"000\.png"):
        write_atomic(tmp_path / "000.png", b"picture")
    assert [path.name for path in tmp_path.iterdir()] == ["000.png"]
