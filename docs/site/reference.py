"""The pages that are made of the code: the options of every command, and the public names of the package's rooms."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import latent_guard
from latent_guard.cli.app import command

COMMANDS_OF_A_GROUP = re.compile(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n", re.MULTILINE)  # cut short; each follows whole
OPTIONS = """# Options of every command

What each command is for: [The command line](commands.md).
"""
PACKAGE = """# latent_guard

These names can be imported from the package itself:

{names}

::: latent_guard.errors
    options: {{filters: ["!^[^A-Z]", "!^[A-Z_]+$"]}}

::: latent_guard.shipped
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The page of each room stands in the navigation."""
    pages = [{room: _page_of(room)} for room in _public()]
    config.nav = [*(config.nav or []), {"Python": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The site has the pages that are made here."""
    files.append(File.generated(config, "options.md", content=OPTIONS + _options()))
    for room, names in _public().items():
        content = _package(names) if room == "latent_guard" else _room(room, names)
        files.append(File.generated(config, _page_of(room), content=content))
    return files


def _options() -> str:
    tree = command()
    text = get_docs_for_click(obj=tree, ctx=typer.Context(tree, info_name="latent-guard"), name="latent-guard")
    _, first, commands = COMMANDS_OF_A_GROUP.sub("", text).partition("\n## ")
    return first + commands


def _public() -> dict[str, list[str]]:
    """What the package and each of its rooms call public."""
    rooms = [room.name for room in pkgutil.walk_packages(latent_guard.__path__, "latent_guard.") if room.ispkg]
    public = {room: list(getattr(import_module(room), "__all__", ())) for room in ("latent_guard", *rooms)}
    return {room: names for room, names in public.items() if names}


def _page_of(room: str) -> str:
    return f"python/{room.removeprefix('latent_guard.')}.md"


def _room(room: str, names: list[str]) -> str:
    documented = "\n\n".join(f"::: {room}.{name}" for name in names)
    return f"# {room}\n\n{documented}\n"


def _package(names: list[str]) -> str:
    """A link for each name to the room that has it, and the two names that are modules as a whole."""
    rooms = {
        name: room
        for room, public in _public().items()
        for name in public
        if room != "latent_guard" and getattr(import_module(room), name) is getattr(latent_guard, name, None)
    }
    return PACKAGE.format(names="\n".join(f"- [`{name}`][{rooms[name]}.{name}]" for name in names if name in rooms))
