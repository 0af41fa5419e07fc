"""Prompts of I2P whose own guidance scale has no classifier-free guidance, next to methods that work through it.

Two of the published list's are of scale 1. Left out for one method, its figures would be of other prompts than the
rest: they are left out for all methods of the task, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latent_guard.bench.baselines.registry import takes_the_calls_guidance
from latent_guard.bench.prompts.protocols import task_rows
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.spec import I2P, Spec, TaskSpec, arms_of


def with_guidance(spec: Spec, task: TaskSpec, rows: Sequence[PromptRow]) -> list[PromptRow]:
    """The prompts that all methods of a task can be made with; all, where that would be none.

    Only under that protocol: any other list can be mended, and its methods refuse what they cannot work with.
    """
    if task.protocol != I2P or not any(takes_the_calls_guidance(a.method, a.options) for a in arms_of(spec, task)):
        return list(rows)
    return [row for row in rows if row.guidance is None or row.guidance > 1] or list(rows)


def left_out(spec: Spec, prompts: Mapping[str, Sequence[PromptRow]]) -> dict[str, dict[str, int]]:
    """``{"left_out_without_guidance": {task: how many}}`` of the tasks that have such; else nothing."""
    tasks = [task for task in spec.tasks if task.protocol == I2P]
    counts = {task.name: len(task_rows(task)) - len(prompts[task.name]) for task in tasks}
    found = {name: count for name, count in counts.items() if count}
    return {"left_out_without_guidance": found} if found else {}
