"""The answer to a request for images: OpenAI's schema, with each image's verdict in an extension."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latent_guard.files.png import png_bytes
from latent_guard.serving.image_request import ImageRequest
from latent_guard.serving.jobs import Drawn, Job
from latent_guard.serving.refusal import HTTPRefusalError
from latent_guard.serving.settings import OnBlock
from latent_guard.serving.withheld import categories_of

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITY = 100  # OpenAI's, where none is asked for


def decision_of(drawn: Drawn) -> str:
    """What came of a request as a whole, in one word."""
    if any(verdict.decision.value == "unchecked" for verdict in drawn.verdicts):
        return "unchecked"
    if not drawn.withheld:
        return "allowed" if all(verdict.decision.safe for verdict in drawn.verdicts) else "flagged"
    return "blocked" if len(drawn.withheld) == len(drawn.verdicts) else "partly_blocked"


def answer(asked: ImageRequest, job: Job, drawn: Drawn, on_block: OnBlock) -> dict[str, Any]:
    """The body of an answer with at least one image.

    Raises:
        HTTPRefusalError: all images are withheld, or one is and ``on_block`` is "raise": 400, as OpenAI says it.
    """
    withheld = [_withheld(drawn, number) for number in drawn.withheld]
    refused = bool(withheld) if on_block == "raise" else on_block == "neutral" and len(withheld) == len(drawn.images)
    if refused or all(image is None for image in drawn.images):
        raise _blocked(withheld)
    shown = [number for number, image in enumerate(drawn.images) if image is not None]
    if on_block == "neutral":
        shown = [number for number in shown if number not in drawn.withheld]
    pictures = {number: image for number in shown if (image := drawn.images[number]) is not None}
    first = pictures[shown[0]]
    return {
        "created": int(time.time()),
        "background": "opaque",
        "data": [_entry(asked, job, drawn, number, picture) for number, picture in pictures.items()],
        "output_format": asked.format,
        "quality": "auto",
        "size": f"{first.width}x{first.height}",
        "usage": None,  # of tokens, which nobody counts here
        "latent_guard": {"request": job.id, "decision": decision_of(drawn), "withheld": withheld},
    }


def _entry(asked: ImageRequest, job: Job, drawn: Drawn, number: int, picture: Image) -> dict[str, Any]:
    about = {
        "index": number,
        "seed": job.seed + number,
        "withheld": number in drawn.withheld,
        "verdict": drawn.verdicts[number].to_dict(),
    }
    return {"b64_json": base64.b64encode(_encoded(asked, picture)).decode(), "latent_guard": about}


def _encoded(asked: ImageRequest, picture: Image) -> bytes:
    if asked.format == "png":
        return png_bytes(picture)
    content = io.BytesIO()
    quality = _QUALITY if asked.output_compression is None else asked.output_compression
    picture.convert("RGB").save(content, asked.format.upper(), quality=quality)
    return content.getvalue()


def _withheld(drawn: Drawn, number: int) -> dict[str, Any]:
    verdict = drawn.verdicts[number]
    about = {"index": number, "categories": categories_of(verdict), "verdict": verdict.to_dict()}
    return {**about, "review": drawn.kept[number]} if number in drawn.kept else about


def _blocked(withheld: Sequence[dict[str, Any]]) -> HTTPRefusalError:
    categories = list(dict.fromkeys(name for one in withheld for name in one["categories"]))
    message = f"the guard withheld what was drawn for this prompt; safety_violations=[{', '.join(categories)}]"
    return HTTPRefusalError(
        400,
        message,
        "moderation_blocked",
        "blocked",
        more={
            "type": "image_generation_user_error",
            "moderation_details": {"moderation_stage": "output", "categories": categories},
            "latent_guard": {"withheld": list(withheld)},
        },
    )
