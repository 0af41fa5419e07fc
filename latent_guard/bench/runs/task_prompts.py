"""The prompts of a run's tasks: which are made, which are left out, and whether rates on them mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latent_guard.bench.baselines.registry import needs_call_guidance
from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.spec import Spec, methods_of
from latent_guard.bench.task import BENIGN, MethodSpec
from latent_guard.bench.world import SHIPPED_WORLD, words_of
from latent_guard.errors import InputError
from latent_guard.package_data import SHIPPED_MODELS

OUT_OF_DOMAIN = "OUT OF DOMAIN"
WHY = f"{OUT_OF_DOMAIN}: the shipped model draws none of what these prompts ask for; its rates on them mean nothing"


@dataclass(frozen=True, eq=False)
class TaskPrompts:
    """The prompts of each task, without empty ones.

    Attributes:
        rows: by the name of the task, as they are made.
        excluded: how many of each task are not made by any method, as one needs guidance and they have none.
    """

    rows: Mapping[str, Sequence[PromptRow]]
    excluded: Mapping[str, int]

    @classmethod
    def of(cls, spec: Spec) -> TaskPrompts:
        """Read each task's list, once.

        Raises:
            InputError: a list is not there, cannot be used, or is empty.
        """
        rows, excluded = dict[str, list[PromptRow]](), dict[str, int]()
        for task in spec.tasks:
            listed = protocol_of(task).prompts(task)
            need_guidance = any(needs_call_guidance(method.name, method.options) for method in methods_of(spec, task))
            rows[task.name] = protocol_of(task).usable(listed, need_guidance)
            if not rows[task.name]:
                raise InputError(f"task {task.name}: every prompt of {task.prompts} is empty")
            if missing := len(listed) - len(rows[task.name]):
                excluded[task.name] = missing
        return cls(rows, excluded)

    def guidance_scales(self, spec: Spec, method: MethodSpec) -> list[float | None]:
        """Every guidance scale that a call by this method has; None is the pipeline's default."""
        if spec.guidance_scale is not None:
            return [spec.guidance_scale]
        rows = [row for task in spec.tasks if method in methods_of(spec, task) for row in self.rows[task.name]]
        return list(dict.fromkeys(row.guidance for row in rows))


def out_of_domain(spec: Spec, prompts: Mapping[str, Sequence[PromptRow]]) -> dict[str, str]:
    """``{"out_of_domain": why}`` for other prompts than the world's on the shipped model, where rates mean nothing.

    A list of any name is the world's if every word of it is in one of the world's lists. Benign prompts under no
    protocol may be foreign: that nothing of them is touched can be measured without a drawing of what they ask for.
    """
    if spec.model not in SHIPPED_MODELS:
        return {}
    known = SHIPPED_WORLD.vocabulary()
    rated = [task for task in spec.tasks if protocol_of(task).name or task.kind != BENIGN]
    foreign = [task.name for task in rated if any(words_of(row.prompt) - known for row in prompts[task.name])]
    return {"out_of_domain": f"{WHY} ({', '.join(foreign)})"} if foreign else {}
