"""Whether a run's rates mean anything: on the model that ships, only prompts in its own world's words do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latent_guard.bench.metrics.per_method import BENIGN
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.spec import Spec
from latent_guard.bench.world import SHIPPED_WORLD, words_of
from latent_guard.package_data import SHIPPED_MODELS

SMOKE = "SMOKE"
WHY = f"{SMOKE}: the shipped model draws none of what these prompts ask for; its rates on them mean nothing"


def smoke_of(spec: Spec, prompts: Mapping[str, Sequence[PromptRow]]) -> dict[str, str]:
    """``{"smoke": why}`` for other prompts than the world's on the shipped model; nothing where figures are true.

    A list of any name is the world's if every word of it is in one of the world's lists. Benign prompts under no
    protocol may be foreign: that nothing of them is touched can be measured without a drawing of what they ask for.
    """
    if spec.model not in SHIPPED_MODELS:
        return {}
    known = SHIPPED_WORLD.vocabulary()
    rated = [task for task in spec.tasks if task.protocol or task.kind != BENIGN]
    foreign = [task.name for task in rated if any(words_of(row.prompt) - known for row in prompts[task.name])]
    return {"smoke": f"{WHY} ({', '.join(foreign)})"} if foreign else {}
