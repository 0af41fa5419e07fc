"""The moderation endpoints over real HTTP, by the shipped guard and by an untrained one."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from latent_guard import shipped
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import FLAG, Policies
from latent_guard.loading import load_vae
from latent_guard.serving.metrics import Metrics
from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.moderation.endpoint import Moderation
from latent_guard.serving.moderation.guardrail import guardrail_router
from latent_guard.serving.moderation.moderations import moderations_router
from latent_guard.serving.openai_error import answer_refusal
from latent_guard.serving.refusal import HTTPRefusalError
from latent_guard.testing import tiny_latent_clip
from latent_guard.testing.linear import SPACE
from latent_guard.testing.pipelines import tiny_vae
from latent_guard.worlds.emoji.scenes import MILD, Scene, place, render

SETS = [
    PromptSet("a", "violence", "", 1, "CC0-1.0", ("{}",), ("a knife", "a bomb"), ("a spoon",)),
    PromptSet("b", "weather", "", 1, "CC0-1.0", ("{}",), ("a storm",), ("a cloud",)),
]
ALWAYS, NEVER = -100.0, 100.0  # triggers


def app_of(checker: Callable[[], ContentChecker], metrics: Metrics | None = None) -> FastAPI:
    app = FastAPI()
    moderation = Moderation(checker, metrics=metrics)
    app.include_router(moderations_router(moderation))
    app.include_router(guardrail_router(moderation))
    app.add_exception_handler(HTTPRefusalError, answer_refusal)
    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of an application on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def drawn(*names: str) -> Image.Image:
    """A picture of things of Emoji World."""
    return Image.fromarray(render(Scene(place(names, MILD, np.random.default_rng(1)), "blue")))


def stored(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{in_base64(content)}"


def tiny_guard(text_trigger: float | None = NEVER, trigger: float = NEVER) -> LatentGuard:
    """An untrained one: what it flags is for the triggers to say."""
    model = tiny_latent_clip(SPACE)
    policies = Policies("own", replace(FLAG, trigger=trigger), prompt_trigger=text_trigger)
    return LatentGuard(model, ConceptBank.build(model, SETS), policies)


def tiny_checker(text_trigger: float | None = NEVER, trigger: float = NEVER) -> ContentChecker:
    return ContentChecker(tiny_guard(text_trigger, trigger), tiny_vae())


@pytest.fixture(scope="session")
def shipped_checker() -> ContentChecker:
    return ContentChecker(shipped.guard(), load_vae(None))


@pytest.fixture(scope="session")
def shipped_service(shipped_checker: ContentChecker) -> Iterator[str]:
    with served(app_of(lambda: shipped_checker)) as address:
        yield address
