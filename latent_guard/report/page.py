"""The HTML page: one file without network access, whose style and script are allowed by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from latent_guard.report.gallery import Gallery
from latent_guard.report.review import ReviewGroup, with_review_groups
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section

CARDS_AT_A_TIME = 300
_TEMPLATES = "templates"


def html_page(run: Run, sections: Sequence[Section], gallery: Gallery) -> str:
    """Write the whole page. The template escapes every value, and no text of a run becomes style or script."""
    style = _part("report.css")
    script = _part("report.js")
    groups = with_review_groups(run.records)["review_group"]
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data: 'self'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            sections=sections,
            gallery=gallery,
            counts={kind.value: int((groups == kind).sum()) for kind in ReviewGroup},  # the page may show fewer
            step=CARDS_AT_A_TIME,
            facts={name: _plain(value) for name, value in run.environment.items()},
            policy=policy,
            style=Markup(style),
            script=Markup(script),
        )
    )
    return page


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("latent_guard.report", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _part(name: str) -> str:
    return files("latent_guard.report").joinpath(_TEMPLATES).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
