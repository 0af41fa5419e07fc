"""Places that cannot be written to are refused before any work, by every command, whatever is wrong with them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.emoji_world.__main__ import app as emoji_world
from latent_guard.cli.app import command as all_commands
from latent_guard.cli.places import OutFile, OutFolder, require_file, require_folder
from latent_guard.errors import InputError

Command = Callable[..., Any]
QUICK = 5.0  # seconds; any work takes longer than what a busy machine makes of a refusal
# Parameters that are called like an output place, or speak of one, and are none.
EMOJI_WORLD = "emoji_world"  # before the names of its own commands
NOT_PLACES = {
    ("emoji_world label-join", "out"),
    ("bench report", "folder"),
    ("generate", "audit_prompts"),
    ("review", "folder"),
    ("review-purge", "folder"),
    ("serve", "audit_rotate"),
    ("serve", "log_prompts"),
}


def commands(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what is typed for it."""
    if command is None:
        yield from commands(all_commands())
        yield from commands(typer.main.get_command(emoji_world), EMOJI_WORLD)
        return
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
    for key, subcommand in (subcommands or {}).items():
        yield from commands(subcommand, f"{name} {key}".strip())


def place_of(parameter: Any) -> OutFolder | OutFile | None:
    asked = getattr(getattr(parameter, "type_descriptor", None), "parameter_info", None)  # as typer 0.29 has it
    parser = getattr(asked, "parser", None) or getattr(getattr(parameter, "type", None), "func", None)
    return parser if isinstance(parser, OutFolder | OutFile) else None


PLACES = [
    pytest.param(name, command, parameter, id=f"{name} {parameter.name}")
    for name, command in commands()
    for parameter in command.params
    if place_of(parameter) is not None
]


def typed(name: str, command: Any, parameter: Any, place: str) -> list[str]:
    """The command line that names this place and no more than it must before it."""
    words = name.removeprefix(EMOJI_WORLD).split()
    if parameter.param_type_name == "option":
        return [*words, parameter.opts[0], place]
    arguments = [other for other in command.params if other.param_type_name == "argument"]
    return [*words, *["x"] * arguments.index(parameter), place]


def app_of(name: str) -> Any:
    """The application that a command belongs to; None: the package's own tree."""
    return emoji_world if name.startswith(EMOJI_WORLD) else None


def bad_places(folder: Path, parser: OutFolder | OutFile) -> dict[str, str]:
    wants_folder = isinstance(parser, OutFolder)
    end = "" if wants_folder else (*parser.suffixes, ".log")[0]
    (folder / "file").write_text("somebody's own")
    (folder / f"folder{end}").mkdir()
    (folder / f"loop{end}").symlink_to(folder / f"back{end}")
    (folder / f"back{end}").symlink_to(folder / f"loop{end}")
    (folder / f"dangling{end}").symlink_to(folder / "nothing" / "here")
    os.mkfifo(folder / f"pipe{end}")
    found = {
        "empty": "",
        "a NUL": f"{folder}/a\0b{end}",
        "loop": str(folder / f"loop{end}"),
        "below a loop": str(folder / f"loop{end}" / f"x{end}"),
        "dangling": str(folder / f"dangling{end}"),
        "below a dangling link": str(folder / f"dangling{end}" / f"x{end}"),
        "a long name": str(folder / ("n" * 300 + end)),
        "a long name below what is missing": str(folder / "missing" / ("n" * 300 + end)),
        "a long path": str(folder / "/".join(["n" * 200] * 22) / f"x{end}"),
        "below a file": str(folder / "file" / f"x{end}"),
        "no folder can be made": f"/proc/latent-guard/x{end}",
        "no file can be made": f"/proc/x{end}",
        "up from what is missing": str(folder / "missing" / ".." / ".." / f"x{end}"),
        "a pipe": str(folder / f"pipe{end}"),
        "a device": "/dev/full",
        "the other kind": str(folder / ("file" if wants_folder else f"folder{end}")),
    }
    if not wants_folder:
        found["a name that leaves no room"] = str(folder / ("n" * (254 - len(end)) + end))
        if parser.suffixes:
            found |= {"no suffix": str(folder / "x"), "another suffix": str(folder / "x.exe")}
    return found


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("name", "command", "parameter"), PLACES)
def test_every_command_refuses_every_bad_place_at_once(
    latent_guard_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    command: Any,
    parameter: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = place_of(parameter)
    assert parser is not None
    places = bad_places(tmp_path, parser)
    before, began = everything_in(tmp_path), time.perf_counter()
    for what, place in places.items():
        done = latent_guard_command(*typed(name, command, parameter, place), app=app_of(name))
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), (what, done)
        assert done.err.startswith("error: "), (what, done)
        assert parser.option in done.err, (what, done)
        assert len(done.err) < 1000, what
    assert time.perf_counter() - began < QUICK
    assert everything_in(tmp_path) == before
    assert (tmp_path / "file").read_text() == "somebody's own"


def test_no_command_names_a_place_to_write_to_without_having_it_tried() -> None:
    forgotten = {
        (name, parameter.name)
        for name, command in commands()
        for parameter in command.params
        if place_of(parameter) is None
        and (
            parameter.name in {"out", "record", "plots", "results", "audit", "folder"}
            or re.match(r"(Folder (for|to)|Where|Write|Keep|Append|The (page|table) to)\b", parameter.help or "")
        )
    }
    assert forgotten - NOT_PLACES == set()
    assert len(PLACES) > 20


def test_trying_a_place_leaves_nothing_behind_and_takes_nothing_away(tmp_path: Path) -> None:
    assert require_folder(tmp_path / "new" / "folder", "--out") == tmp_path / "new" / "folder"
    assert require_file(tmp_path / "new" / "table.csv", "--out", (".csv",)) == tmp_path / "new" / "table.csv"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "table.csv").write_text("kept")
    (tmp_path / "link.csv").symlink_to(tmp_path / "table.csv")
    for name in ("table.csv", "link.csv"):
        require_file(tmp_path / name, "--out", (".csv",))
        assert (tmp_path / name).read_text() == "kept"
    assert require_folder(tmp_path, "--out") == tmp_path


def test_a_record_that_is_there_is_only_read_so_its_folder_need_not_be_writable(tmp_path: Path) -> None:
    parser = OutFile("--record", (".safetensors",), read_if_there=True)
    assert parser("/proc/self/status") == Path("/proc/self/status")
    with pytest.raises(InputError, match="--record"):
        parser("/proc/self/nothing.safetensors")
