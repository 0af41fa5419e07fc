"""``POST /v1/moderations`` in OpenAI's schema, by the bank of the guard in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request

from latent_guard.building import build
from latent_guard.serving.moderation.assessment import Assessment
from latent_guard.serving.moderation.category_table import CategoryTable
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.endpoint import Judged, Moderation, Schema
from latent_guard.serving.moderation.parts import Part, moderation_input, read_object


@dataclass(frozen=True)
class _Body:
    """OpenAI's fields. ``model`` changes nothing: the answer's says who judged."""

    input: Any
    model: str | None = None


def moderations_router(moderation: Moderation, table: CategoryTable | None = None) -> APIRouter:
    """A router with the one path.

    Args:
        moderation: judges.
        table: which of the bank's categories stand for OpenAI's; by default the one that ships.

    Raises:
        InputError: the table that ships cannot be read.
    """
    known = table or CategoryTable.read()

    def answer(judged: Judged, by: ContentChecker) -> dict[str, Any]:
        return {
            "id": f"modr-{uuid4().hex}",
            "model": by.model_name,
            "results": [result_of(assessments, known) for assessments in judged],
            "latent_guard": by.posture(),
        }

    def read(body: bytes) -> list[list[Part]]:
        return moderation_input(build(_Body, read_object(body), "the body").input)

    schema = Schema(read, answer, "input")

    async def moderations(request: Request) -> dict[str, Any]:
        return await moderation.answer(request, schema)

    router = APIRouter()
    router.add_api_route("/v1/moderations", moderations, methods=["POST"], response_model=None)
    return router


def result_of(assessments: Sequence[Assessment], table: CategoryTable) -> dict[str, Any]:
    """One of an answer's results: the worst that any of some texts and images scored, in OpenAI's categories.

    What the bank has no category for is null, never false or 0. ``flagged`` is true for any category of the bank, also
    for one that stands for none of OpenAI's; the extension ``latent_guard`` has them all.
    """
    of_bank = assessments[0].scores
    categories: dict[str, bool | None] = {}
    scores: dict[str, float | None] = {}
    kinds: dict[str, list[str]] = {}
    for name, wanted in table.of_bank.items():
        known = [category for category in wanted if category in of_bank]
        over = any(category in part.flagged for part in assessments for category in known)
        categories[name] = over if known else None
        scores[name] = max((part.probabilities[category] for part in assessments for category in known), default=None)
        kinds[name] = sorted({part.kind for part in assessments}, reverse=True) if known else []
    return {
        "flagged": any(part.flagged for part in assessments),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": kinds,
        "latent_guard": [part.to_dict() for part in assessments],
    }
