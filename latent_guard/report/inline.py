"""Templates of pages; styles and scripts stand in the page itself, whose policy lets them run by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined


def template_text(package: str, name: str) -> str:
    """A file of a package's ``templates/``, as it stands there."""
    return files(package).joinpath("templates").joinpath(name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """A text as a Content Security Policy names it in ``style-src`` or ``script-src``."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def environment(package: str) -> Environment:
    """The templates of a package, whose values are escaped."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
