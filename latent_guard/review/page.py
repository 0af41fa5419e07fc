"""The review page: a card an image, blurred until asked for; its style and script are allowed by their hashes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from markupsafe import Markup

from latent_guard.files.csv_text import clean
from latent_guard.report.inline import csp_hash, environment, template_text
from latent_guard.report.untrusted_text import Shortened, shortened
from latent_guard.review.decisions import ReviewDecision
from latent_guard.review.queue import Item, Unreadable

CARDS_AT_A_TIME = 200
_PACKAGE = "latent_guard.review"
_DECIDED = {"uphold": "upheld", "overturn": "overturned"}
_NO_CATEGORY = "(none)"


@dataclass(frozen=True)
class Card:
    """One image as the page shows it; ``category`` and ``decision`` number the values of the filters."""

    id: str
    category: int
    decision: int
    state: str
    said: str
    reason: str
    kept: str
    expires: str
    about: tuple[tuple[str, Shortened], ...]


@dataclass(frozen=True)
class Page:
    """A page, and the policy that the browser is to hold it to."""

    html: str
    policy: str


def review_page(found: Sequence[Item | Unreadable], lost_decisions: int = 0) -> Page:
    """Write the page. The template escapes every value, and no text of a request becomes style or script.

    Args:
        found: the images, in the order of the cards.
        lost_decisions: lines of the decisions that cannot be read.
    """
    style = template_text("latent_guard.report", "report.css") + template_text(_PACKAGE, "review.css")
    script = template_text(_PACKAGE, "review.js")
    items = [one for one in found if isinstance(one, Item)]
    categories = sorted({_category(item) for item in items})
    decisions = sorted({item.details.verdict.decision.value for item in items})
    cards = [_card(item, categories, decisions) for item in items]
    html: str = (
        environment(_PACKAGE)
        .get_template("review.html.j2")
        .render(
            cards=cards,
            counts=Counter(card.state for card in cards),
            categories=categories,
            decisions=decisions,
            unreadable=[one for one in found if isinstance(one, Unreadable)],
            lost_decisions=lost_decisions,
            step=CARDS_AT_A_TIME,
            style=Markup(style),
            script=Markup(script),
        )
    )
    return Page(html, _policy(style, script))


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere else, sent anywhere else, or framed."""
    parts = (
        "img-src 'self' data:",
        "connect-src 'self'",
        f"style-src {csp_hash(style)}",
        f"script-src {csp_hash(script)}",
    )
    return "; ".join(("default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"))


def _card(item: Item, categories: Sequence[str], decisions: Sequence[str]) -> Card:
    verdict, decided = item.details.verdict, item.decision
    return Card(
        id=item.header.id,
        category=categories.index(_category(item)),
        decision=decisions.index(verdict.decision.value),
        state=_DECIDED[decided.decision] if decided else "open",
        said=said_of(decided) if decided else "Open",
        reason=clean(verdict.reason) if verdict.reason else "",
        kept=_day(item.header.kept),
        expires=_day(item.header.expires),
        about=tuple((clean(name), shortened(clean(text))) for name, text in item.details.about.items()),
    )


def said_of(decision: ReviewDecision) -> str:
    """A decision in words, with whose it is."""
    whose = f" by {clean(decision.reviewer)}" if decision.reviewer else ""
    return f"{_DECIDED[decision.decision].capitalize()}{whose}"


def _category(item: Item) -> str:
    return clean(item.details.verdict.category or _NO_CATEGORY)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
