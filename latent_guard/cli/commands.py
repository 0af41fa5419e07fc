"""How every command reads its line: what cannot be meant ends as any other bad input does, in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from latent_guard.errors import InputError

_UsageError: Any = typer.BadParameter.__base__  # click's, of which newer versions of typer hold a copy


class Commands(typer.Typer):
    """A typer whose commands refuse an empty path or text, a number that is none, and whatever click refuses."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **settings)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except _UsageError as error:
            raise InputError(f"{error.format_message()} See `{ctx.command_path} --help`.") from error
        for parameter in self.params:
            found = ctx.params.get(parameter.name)
            for value in found if isinstance(found, list | tuple) else (found,):
                _require_meant(parameter, value)
        return rest


class _Group(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            raise InputError(f"{error.format_message()} See `{ctx.command_path} --help`.") from error


def _require_meant(parameter: Any, value: Any) -> None:
    name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.human_readable_name
    if isinstance(value, float) and not math.isfinite(value):  # a NaN is within every range of click's
        raise InputError(f"{name} is {value}; give a number")
    if value == "" and parameter.default != "":  # as a path, it would be the working directory
        raise InputError(f"{name} is empty; give a value, or leave it out if it may be")
