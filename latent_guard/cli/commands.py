"""Options and arguments of every command: an empty text or a number that is none ends in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand

from latent_guard.errors import InputError


class Commands(typer.Typer):
    """A typer application whose commands refuse an empty path or text, and a number that is none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **settings)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))  # as it was typed
        rest: list[str] = super().parse_args(ctx, args)
        for parameter in self.params:
            if "" in _all(given.get(parameter.name)) and parameter.default != "":
                raise InputError(f"{_name(parameter)} is empty; give it a value")  # a path of it is the working folder
            if any(isinstance(value, float) and not math.isfinite(value) for value in _all(ctx.params[parameter.name])):
                raise InputError(f"{_name(parameter)} is no number; give one")  # a NaN is within every range
        return rest


def _all(values: Any) -> Iterable[Any]:
    return values if isinstance(values, list | tuple) else (values,)


def _name(parameter: Any) -> str:
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.name)
