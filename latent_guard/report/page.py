"""The HTML page: one file without network access, whose style and script are allowed by their hashes alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from latent_guard.report.gallery import Gallery
from latent_guard.report.inline import csp_hash, environment, template_text
from latent_guard.report.review import ReviewGroup, with_review_groups
from latent_guard.report.run_folder import Run
from latent_guard.report.sections import Section

CARDS_AT_A_TIME = 300
_PACKAGE = "latent_guard.report"


def html_page(run: Run, sections: Sequence[Section], gallery: Gallery) -> str:
    """Write the whole page. The template escapes every value, and no text of a run becomes style or script."""
    style = template_text(_PACKAGE, "report.css")
    script = template_text(_PACKAGE, "report.js")
    groups = with_review_groups(run.records)["review_group"]
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data: 'self'",
            f"style-src {csp_hash(style)}",
            f"script-src {csp_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page: str = (
        environment(_PACKAGE)
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


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
