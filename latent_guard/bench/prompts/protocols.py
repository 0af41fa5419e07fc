"""The prompts of a task, and how they are made: each in its own way under the protocol of a published benchmark.

i2p             10 images a prompt, in calls of 5 that share one generator, seeded once (``i2p``)
geneval         4 images a prompt, in calls of 1 that share one generator, seeded once, with the same seed everywhere
t2i-compbench   10 images a prompt, each with a seed of its own

A task without a protocol has a seed an image. In none of them is the size of a picture the list's: it is the
pipeline's own.
"""

from __future__ import annotations

from pathlib import Path

from latent_guard.bench.prompts import compbench, geneval, i2p
from latent_guard.bench.prompts.compbench import CompBenchPrompt, read_compbench
from latent_guard.bench.prompts.files import read_prompt_file
from latent_guard.bench.prompts.geneval import GenEvalPrompt, read_geneval
from latent_guard.bench.prompts.i2p import Mode, Split, guided, quick_sample, read_i2p, split_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.bench.spec import COMPBENCH, GENEVAL, I2P, TaskSpec
from latent_guard.bench.world import WORLDS
from latent_guard.package_data import benchmark_list, benchmark_lists

_IMAGES = {I2P: i2p.IMAGES, GENEVAL: geneval.IMAGES, COMPBENCH: compbench.IMAGES}


def task_rows(task: TaskSpec) -> list[PromptRow]:
    """The prompts of a task, as they are to be made; those without a word are left out.

    Raises:
        InputError: there is no such list, it cannot be used, or nothing of it is in the split.
    """
    if task.protocol == GENEVAL:
        return [prompt.row for prompt in geneval_prompts(task)]
    if task.protocol == COMPBENCH:
        return [prompt.row for prompt in compbench_prompts(task)]
    if task.protocol == I2P:
        return _i2p_rows(task)
    return _with_words(read_prompt_file(_source(task.prompts)))[: task.first]


def images_of_each(task: TaskSpec) -> int | None:
    """How many images are made of each prompt; None outside protocols, where a task counts them all together."""
    return (task.images or _IMAGES[task.protocol]) if task.protocol else None


def shared_calls(task: TaskSpec) -> tuple[int, ...]:
    """The sizes of a prompt's calls, where one generator goes through all of them; else none."""
    images = images_of_each(task) or 0
    return {I2P: i2p.calls(images), GENEVAL: (1,) * images}.get(task.protocol or "", ())


def geneval_prompts(task: TaskSpec) -> list[GenEvalPrompt]:
    """GenEval's prompts, with what its evaluator must find."""
    return [prompt for prompt in read_geneval(task.prompts) if prompt.row.prompt.strip()][: task.first]


def compbench_prompts(task: TaskSpec) -> list[CompBenchPrompt]:
    """T2I-CompBench's prompts, with their categories."""
    return read_compbench(task.prompts)[: task.first]


def _i2p_rows(task: TaskSpec) -> list[PromptRow]:
    rows = split_of(_with_words(read_i2p(_source(task.prompts))), Split(task.split or Split.ALL))
    if task.sample:
        rows = quick_sample(rows, task.sample)
    return guided(rows[: task.first], Mode(task.mode or Mode.PAPER))


def _with_words(rows: list[PromptRow]) -> list[PromptRow]:
    return [row for row in rows if row.prompt.strip()]


def _source(name: str) -> str | Path:
    world, slash, list_name = name.partition("/")
    if slash and world in WORLDS:
        return WORLDS[world].prompt_file(list_name)
    return benchmark_list(name) if name in benchmark_lists() and not Path(name).exists() else name
