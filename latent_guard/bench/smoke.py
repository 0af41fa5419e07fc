"""Whether a run's rates mean anything: on the model that ships, only its own world's prompts do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from latent_guard.bench.prompts import PromptRow, read_prompts
from latent_guard.bench.spec import SHIPPED, Spec
from latent_guard.worlds.emoji.prompts import PROMPTS

SMOKE = "SMOKE"
WHY = f"{SMOKE}: the shipped model draws none of what these prompts ask for; its rates on them mean nothing"


def smoke_of(spec: Spec, prompts: Mapping[str, Sequence[PromptRow]]) -> dict[str, str]:
    """``{"smoke": why}`` for a published benchmark's prompts on the shipped model; nothing where figures are true.

    A list of any name is the world's if every prompt of it is in one of the world's lists.
    """
    if spec.model != SHIPPED:
        return {}
    published = [task for task in spec.tasks if task.protocol]
    foreign = any(row.prompt not in _of_the_world() for task in published for row in prompts[task.name])
    return {"smoke": WHY} if foreign else {}


@cache
def _of_the_world() -> frozenset[str]:
    return frozenset(row.prompt for path in PROMPTS.glob("*.csv") for row in read_prompts(path))
