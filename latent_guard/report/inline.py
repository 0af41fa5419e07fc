"""Styles and scripts that stand in a page itself, and by whose hashes alone its policy lets them run."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files


def template_text(package: str, name: str) -> str:
    """A file of a package's ``templates/``, as it stands there."""
    return files(package).joinpath("templates").joinpath(name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """A text as a Content Security Policy names it in ``style-src`` or ``script-src``."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
