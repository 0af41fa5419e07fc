"""What a service allows its clients, and what it does with what is withheld."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from latent_guard.bounds import MAX_BATCH, MAX_SIDE, MAX_STEPS, require_number, require_whole
from latent_guard.errors import InputError

OnBlock = Literal["neutral", "blur", "raise"]
ON_BLOCK: tuple[OnBlock, ...] = ("neutral", "blur", "raise")
KEYS, ADMIN_TOKEN, REVIEW_KEY = "LATENT_GUARD_API_KEYS", "LATENT_GUARD_ADMIN_TOKEN", "LATENT_GUARD_REVIEW_KEY"
MIN_SECRET = 8  # characters of a key: shorter ones are guessed
JOIN_SECONDS = 0.005  # for which a first request waits for others to be drawn with
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True)
class Settings:
    """The limits of a service, and its secrets, which are never shown.

    Attributes:
        on_block: what becomes of a withheld image: "neutral" leaves it out, "blur" hands it out blurred, and with
            "raise" the whole request is refused.
        max_batch: images of several requests that are drawn together, each as it would be alone; a lone one costs as
            much as so many (``batch_shape``). 1: none are.
        queue: requests that wait; what comes then is refused with 429.
        deadline: seconds after which a request is answered with 504, wherever it is.
        grace: seconds in which requests that were accepted may finish once the service is to stop.
        max_steps: denoising steps that a client may ask for; None: those of the guard's fit, and no more.
        max_images: images that one request may ask for.
        sizes: "WIDTHxHEIGHT" that a client may ask for, besides the model's own; each is tried out at the start.
        log_prompts: write prompts into the access log.
        keys: API keys, one of which each request to ``/v1`` and ``/beta`` must bring; none: no key is asked for.
        admin_token: what a request to ``/admin`` must bring; None: all are refused.
    """

    on_block: OnBlock = "neutral"
    max_batch: int = 4
    queue: int = 64
    deadline: float = 60.0
    grace: float = 30.0
    max_steps: int | None = None
    max_images: int = 4
    sizes: tuple[str, ...] = ()
    log_prompts: bool = False
    keys: tuple[str, ...] = field(default=(), repr=False)
    admin_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.on_block not in ON_BLOCK:
            raise InputError(f"on_block must be one of {', '.join(ON_BLOCK)}, not {self.on_block!r}")
        require_whole("max_batch", self.max_batch, 1, MAX_BATCH)
        require_whole("queue", self.queue, 1, 100_000)
        require_whole("max_images", self.max_images, 1, MAX_BATCH)
        if self.max_steps is not None:
            require_whole("max_steps", self.max_steps, 1, MAX_STEPS)
        for name in ("deadline", "grace"):
            require_number(name, getattr(self, name), 0, 86_400, exclusive=name == "deadline")
        for size in self.sizes:
            sides_of(size)
        if any(len(secret) < MIN_SECRET for secret in (*self.keys, self.admin_token or "-" * MIN_SECRET)):
            raise InputError(
                f"a key in {KEYS} or {ADMIN_TOKEN} has fewer than {MIN_SECRET} characters; take longer ones"
            )
        if self.admin_token in self.keys:
            raise InputError(f"{ADMIN_TOKEN} is one of {KEYS}, so that clients were administrators; take another")


def sides_of(size: str) -> tuple[int, int]:
    """Width and height of "WIDTHxHEIGHT"; ``InputError`` for anything else."""
    found = _SIZE.fullmatch(size)
    if found is None or max(sides := (int(found[1]), int(found[2]))) > MAX_SIDE:
        raise InputError(f"a size must be WIDTHxHEIGHT, of at most {MAX_SIDE} pixels a side, not {size!r}")
    return sides


def secrets_of(environment: Mapping[str, str] = os.environ) -> tuple[tuple[str, ...], str | None]:
    """API keys, which commas separate, and admin token of the environment; a command line would show them to all."""
    keys = tuple(key.strip() for key in environment.get(KEYS, "").split(",") if key.strip())
    return keys, environment.get(ADMIN_TOKEN) or None
