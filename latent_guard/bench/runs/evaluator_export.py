"""The images of a finished run as the evaluators of GenEval and T2I-CompBench read them, a folder a method.

    RUN/official/geneval/00-unguarded/00000/samples/0000.png          GenEval
    RUN/official/color/01-guard/color/samples/a green cat_000000.png  T2I-CompBench

A folder's name is that of the task, then the method's with its number in the spec.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from latent_guard.bench.prompts.compbench import CompBenchPrompt, write_compbench_image, write_compbench_prompts
from latent_guard.bench.prompts.geneval import write_geneval_image
from latent_guard.bench.prompts.protocols import compbench_prompts, geneval_prompts, images_of_each
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.runs.plan import slug, slugs
from latent_guard.bench.spec import COMPBENCH, GENEVAL, Spec, TaskSpec

OFFICIAL = "official"


def lay_out(folder: RunFolder, spec: Spec, records: pd.DataFrame) -> list[Path]:
    """Write every method's folder of every task under one of these protocols; the folders."""
    made, names = [], slugs([task.name for task in spec.tasks])
    for task in spec.tasks:
        write = {GENEVAL: _geneval, COMPBENCH: _compbench}.get(task.protocol or "")
        if write is None:
            continue
        for place, arm in enumerate(spec.arms):
            images = records[(records["task"] == task.name) & (records["arm"] == arm.name)]
            made.append(folder.path / OFFICIAL / names[task.name] / f"{place:02d}-{slug(arm.name)}")
            write(made[-1], folder, task, images.sort_values("row"))
    return made


def _geneval(out: Path, folder: RunFolder, task: TaskSpec, images: pd.DataFrame) -> None:
    prompts, seen = geneval_prompts(task), Counter[int]()
    for row, index in zip(images["row"], images["prompt_index"], strict=True):
        write_geneval_image(out, int(index), prompts[index], seen[index], folder.pictures([int(row)])[0])
        seen[index] += 1


def _compbench(out: Path, folder: RunFolder, task: TaskSpec, images: pd.DataFrame) -> None:
    prompts, each, seen = compbench_prompts(task), images_of_each(task) or 0, Counter[int]()
    places = _places_in_category(prompts)
    for row, index in zip(images["row"], images["prompt_index"], strict=True):
        number = places[index] * each + seen[index]
        write_compbench_image(out, prompts[index], number, folder.pictures([int(row)])[0])
        seen[index] += 1
    write_compbench_prompts(out, prompts, each)


def _places_in_category(prompts: list[CompBenchPrompt]) -> list[int]:
    """How many prompts of its category come before each."""
    before, places = Counter[str](), []
    for prompt in prompts:
        places.append(before[prompt.category])
        before[prompt.category] += 1
    return places
