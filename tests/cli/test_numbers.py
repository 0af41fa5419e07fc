"""What no command accepts, whichever option it is given for: found by walking the tree, so later ones are covered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from benchmarks.emoji_world.__main__ import app as emoji_world
from latent_guard.cli.app import WrongUsage, app
from latent_guard.errors import InputError

HOSTILE = {
    int: (str(10**30), "-1", "nan", "9" * 6000, "1.5"),
    float: (str(10**30), "nan", "inf", "-inf", "1e999"),
}


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name, each in (inner or {}).items():
        yield from _commands(each, (*path, name))


COMMANDS = [
    *_commands(typer.main.get_command(app)),
    *_commands(typer.main.get_command(emoji_world), ("emoji_world",)),
]


def _of_type(*kinds: type) -> Iterator[Any]:
    """Parameters of any of these types, or lists of them, or those that may be left out."""
    for path, command in COMMANDS:
        hints = get_type_hints(inspect.unwrap(command.callback))
        for parameter in command.params:
            hint = hints.get(parameter.name)
            inner = {each for part in (hint, *get_args(hint)) for each in (part, *get_args(part))}
            if inner & set(kinds):
                yield path, command, parameter


def _arguments(command: Any, but: Any = None, given: str = "x") -> list[str]:
    """Something for each argument and option that a command must be given; ``given`` for the one that is tried."""
    needed = [each for each in command.params if each.required and each is not but]
    # The one whose file is told by its suffix.
    files = {"--out": "x.html"} if command.name == "report" else {}
    named = [(o := each.opts[0], files.get(o, "x")) for each in needed if each.param_type_name == "option"]
    return [
        *(given if each is but else "x" for each in command.params if each.param_type_name == "argument"),
        *sum(named, ()),
    ]


def _refusal(path: tuple[str, ...], command: Any, line: list[str]) -> str:
    with pytest.raises((InputError, WrongUsage)) as caught:
        command.make_context(" ".join(path), line)  # all that happens before the command itself begins
    return str(caught.value if isinstance(caught.value, InputError) else caught.value.format_message())


def _each(*kinds: type) -> list[Any]:
    return [pytest.param(*found, id=f"{' '.join(found[0])} {found[2].name}") for found in _of_type(*kinds)]


def test_the_tree_has_numbers() -> None:
    assert len(COMMANDS) >= 30
    assert len(_each(*HOSTILE)) >= 30


@pytest.mark.parametrize(("path", "command", "option"), _each(*HOSTILE))
def test_a_number_that_cannot_be_meant_is_refused_by_its_option(
    path: tuple[str, ...], command: Any, option: Any
) -> None:
    whole = any(found[1:] == (command, option) for found in _of_type(int))
    for value in HOSTILE[int if whole else float]:
        assert option.opts[0] in _refusal(path, command, [*_arguments(command), f"{option.opts[0]}={value}"]), value


@pytest.mark.parametrize(("path", "command", "parameter"), _each(Path, str))
def test_an_empty_path_or_text_is_refused_by_its_option(path: tuple[str, ...], command: Any, parameter: Any) -> None:
    if parameter.default == "":
        return
    option = [] if parameter.param_type_name == "argument" else [f"{parameter.opts[0]}="]
    assert "is empty" in _refusal(path, command, [*_arguments(command, parameter, given=""), *option])


@pytest.mark.parametrize(
    "line",
    [
        ["generate", "x", "--steps", str(10**30)],
        ["generate", "x", "--num-images", "-1"],
        ["reno", "x", "--guidance-scale", "nan"],
        ["reno", "x", "--target", "inf"],
        ["train", "latent-vit-b-8", "--data", "x", "--out", ""],
        ["encode", "x", "out", "--size", str(10**9)],
        ["encode", "x", "out", "--shard", "1/" + "9" * 6000],
        ["world", "emoji", "build", "out", "--seed", str(2**70)],
        ["generate", "x", "--nonesuch"],
        ["nonesuch"],
    ],
    ids=lambda line: " ".join(line)[:40],
)
def test_what_cannot_be_meant_ends_in_one_line_and_nothing_is_made(
    latent_guard_command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = latent_guard_command(*line)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
