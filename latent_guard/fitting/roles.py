"""Which prompts a guard learns from, and which it is measured on: a prompt has one role, however many images are made.

Where more images are wanted than a role has prompts, its prompts recur with other seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import sha256
from typing import TypeVar

from latent_guard.bounds import require_number
from latent_guard.errors import InputError
from latent_guard.fitting.prompts import UnsafePrompt

P = TypeVar("P", str, UnsafePrompt)


class Role(str, Enum):
    """What the images of a prompt are for."""

    TUNE = "tune"
    CALIBRATE = "calibrate"
    DEV = "dev"
    VERIFY = "verify"


def split(prompts: Sequence[P], seed: int, shares: Mapping[Role, float]) -> dict[Role, tuple[P, ...]]:
    """Deal prompts into roles by lot, each category's in these shares; no role goes without.

    The lot of a prompt depends on its words and the seed alone. In what a role has, categories take turns, so that any
    first few are of many.

    Args:
        prompts: in any order; a text that occurs again is dealt once.
        seed: of the lots.
        shares: of each role, in any unit.

    Raises:
        InputError: there are fewer prompts than roles, or a share is not a number over 0.
    """
    for role, share in shares.items():
        require_number(f"the share of {role.value}", share, 0, 1e9, exclusive=True)
    distinct = {_text(prompt): prompt for prompt in reversed(prompts)}.values()
    if len(distinct) < len(shares):
        raise InputError(
            f"{len(distinct)} different prompts cannot have {len(shares)} roles without one in two of them; give more"
        )
    dealt: dict[Role, list[P]] = {role: [] for role in shares}
    for prompt in sorted(distinct, key=lambda prompt: (_category(prompt), _lot(prompt, seed))):
        dealt[_next_role(dealt, shares)].append(prompt)
    return {role: tuple(_in_turns(mine)) for role, mine in dealt.items()}


def seeded(prompts: Sequence[P], count: int, seed: int) -> list[tuple[P, int]]:
    """Prompts and seeds of ``count`` images: each prompt in turn, and from the second round on with another seed.

    More images begin with the same. Seeds are from 0 to 2^32 - 1.
    """
    rounds = ((prompts[index % len(prompts)], index // len(prompts)) for index in range(count))
    return [(prompt, int.from_bytes(_lot(prompt, seed)[:4], "big") // 2 + number) for prompt, number in rounds]


def _next_role(dealt: Mapping[Role, Sequence[object]], shares: Mapping[Role, float]) -> Role:
    """The one that is furthest behind its share; at first, one that has nothing yet."""
    total, whole = sum(map(len, dealt.values())) + 1, sum(shares.values())
    waiting = [role for role in shares if not dealt[role]] or list(shares)
    return max(waiting, key=lambda role: total * shares[role] / whole - len(dealt[role]))


def _in_turns(prompts: Sequence[P]) -> list[P]:
    """First one of each category, then a second of each, and so on."""
    turns = Counter[str]()
    order: list[tuple[int, str, P]] = []
    for prompt in prompts:
        category = _category(prompt)
        order.append((turns[category], category, prompt))
        turns[category] += 1
    return [prompt for _, _, prompt in sorted(order, key=lambda place: place[:2])]


def _lot(prompt: str | UnsafePrompt, seed: int) -> bytes:
    return sha256(f"{seed} {_text(prompt)}".encode(errors="surrogatepass")).digest()


def _text(prompt: str | UnsafePrompt) -> str:
    return prompt if isinstance(prompt, str) else prompt.prompt


def _category(prompt: str | UnsafePrompt) -> str:
    return "" if isinstance(prompt, str) else prompt.category
