"""Packages of an extra that is not installed: one line that says which to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from latent_guard.errors import InputError


@contextmanager
def imports_of(extra: str) -> Iterator[None]:
    """Imports, inside the block, of modules that need an extra's packages.

    Raises:
        InputError: one of these packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "latent_guard"):
            raise
        raise InputError(f"{package} is not installed; run pip install 'latent-guard[{extra}]'") from error
