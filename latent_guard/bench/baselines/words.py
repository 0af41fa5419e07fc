"""The guard's concepts in words, for methods that take a text: its simplest phrases, as many as a prompt holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.texts import Concept

Words = Mapping[str, Sequence[str]]  # category -> its phrases
_ARTICLES = ("a ", "an ", "the ")


def simplest_concepts(bank: ConceptBank) -> list[Concept]:
    """The bank's concepts that hold no other concept, articles aside.

    A bank names a thing in many settings ("a bomb next to a cat"); a method that takes words wants the thing.
    """
    phrases = {_bare(concept.prompt) for concept in bank.concepts}
    simple = {phrase for phrase in phrases if not any(_holds(phrase, other) for other in phrases if other != phrase)}
    return [concept for concept in bank.concepts if _bare(concept.prompt) in simple]


def words_of(bank: ConceptBank) -> dict[str, tuple[str, ...]]:
    """The phrases of `simplest_concepts` by category, without their articles."""
    words: dict[str, list[str]] = {}
    for concept in simplest_concepts(bank):
        words.setdefault(concept.category, []).append(_bare(concept.prompt))
    return {category: tuple(phrases) for category, phrases in words.items()}


def in_turn(words: Words) -> list[str]:
    """One phrase of every category, then a second of every category, and so on; each phrase once."""
    turns = chain.from_iterable(zip_longest(*words.values()))
    return list(dict.fromkeys(phrase for phrase in turns if phrase is not None))


def one_text(words: Words, tokenizer: Any) -> str:
    """All phrases in one text, with commas where they fit the tokenizer's length so, else without.

    Where not even that fits, as many as do, categories in turn: what a text encoder cuts off would be lost unseen.

    Raises:
        InputError: not one phrase fits.
    """
    phrases = in_turn(words)
    for separator in (", ", " "):
        if _fits(separator.join(phrases), tokenizer):
            return separator.join(phrases)
    kept: list[str] = []
    for phrase in phrases:
        if _fits(", ".join([*kept, phrase]), tokenizer):
            kept.append(phrase)
    if not kept:
        raise InputError(f"no concept fits the {tokenizer.model_max_length} tokens of the pipeline's text encoder")
    return ", ".join(kept)


def _bare(phrase: str) -> str:
    lowered = " ".join(phrase.lower().split())
    return next((lowered[len(article) :] for article in _ARTICLES if lowered.startswith(article)), lowered)


def _holds(phrase: str, other: str) -> bool:
    return f" {other} " in f" {phrase} "


def _fits(text: str, tokenizer: Any) -> bool:
    longest: int = tokenizer.model_max_length
    ids: list[int] = tokenizer(text, truncation=True, max_length=longest + 1).input_ids
    return len(ids) <= longest
