"""``POST /beta/litellm_basic_guardrail_api``: LiteLLM's generic guardrail contract.

LiteLLM goes on with a request, or with a model's answer, only where the action is ``NONE``; a status other than 200 is
an error to it, which it refuses the request for unless it was told to fail open.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request

from latent_guard.building import checked
from latent_guard.errors import InputError
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.endpoint import Judged, Moderation, Schema
from latent_guard.serving.moderation.parts import Part, read_object, within_limits

PATH = "/beta/litellm_basic_guardrail_api"
_WHERE = "the body"


def guardrail_router(moderation: Moderation) -> APIRouter:
    """A router with the one path."""
    schema = Schema(_groups, _answer)

    async def guardrail(request: Request) -> dict[str, Any]:
        return await moderation.answer(request, schema)

    router = APIRouter()
    router.add_api_route(PATH, guardrail, methods=["POST"], response_model=None)
    return router


def _groups(body: bytes) -> list[list[Part]]:
    """The texts, images and arguments of tool calls of a request, or of a model's answer, in one group.

    The contract grows, so other fields are let be; none of them changes what is judged, or how. A blank text holds
    nothing to judge, as chats are full of them.

    Raises:
        InputError: a field of another type than the contract's, or none of those that are judged.
    """
    given = read_object(body)
    checked(Literal["request", "response"], given.get("input_type"), _WHERE, "input_type")
    texts = checked(tuple[str, ...] | None, given.get("texts"), _WHERE, "texts") or ()
    images = checked(tuple[str, ...] | None, given.get("images"), _WHERE, "images") or ()
    calls = checked(tuple[Any, ...] | None, given.get("tool_calls"), _WHERE, "tool_calls") or ()
    if not (texts or images or calls):
        raise InputError(f"{_WHERE} has no texts, images or tool_calls, so there is nothing to judge")
    written = [text for text in (*texts, *map(_arguments, calls)) if text.strip()]
    return within_limits([[*(Part("text", text) for text in written), *(Part("image", image) for image in images)]])


def _arguments(call: Any) -> str:
    """What a model wrote as the arguments of a tool's call, in JSON: a prompt for a tool that draws, for one."""
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str | None):
        raise InputError(f"{_WHERE}: the arguments of a tool call must be a text")
    if function is None:
        raise InputError(f"{_WHERE}: a tool call has no function")
    return arguments or ""


def _answer(judged: Judged, by: ContentChecker) -> dict[str, Any]:
    flagged = dict.fromkeys(name for group in judged for part in group for name in part.flagged)
    if flagged:
        reason = f"Latent Guard found what its policy does not allow: {', '.join(flagged)}"
        return {"action": "BLOCKED", "blocked_reason": reason, "texts": None, "images": None}
    return {"action": "NONE", "blocked_reason": None, "texts": None, "images": None}
