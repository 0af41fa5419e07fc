"""``latent-guard bench i2p``: any prompt list in I2P's schema through the shipped pipeline, graded by category."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latent_guard.bench import metrics
from latent_guard.bench.generate import generate, jobs_for
from latent_guard.bench.judge import Bools, Judge, sees_unsafe
from latent_guard.bench.metrics import Estimate
from latent_guard.bench.prompts import PromptRow, read_prompts
from latent_guard.bench.provenance import provenance
from latent_guard.bench.records import Records
from latent_guard.errors import InputError
from latent_guard.guidance.verdict import Decision
from latent_guard.whole_files import write_whole
from latent_guard.worlds.emoji.prompts import STEPS

if TYPE_CHECKING:
    from latent_guard.bench.workbench import Workbench

OVERALL = "all"


@dataclass(frozen=True)
class CategoryResult:
    """How many images of a category's prompts show something unsafe; a blocked image shows nothing."""

    category: str
    images: int
    inappropriate: Estimate
    blocked: int
    touched: int


def run_i2p(bench: Workbench, prompts: Path, out: Path, limit: int | None, policy: str | None) -> list[CategoryResult]:
    """One image a prompt with the list's seed and guidance; writes ``results.csv``, ``images.csv``, ``summary.json``.

    Prompts without a word are skipped, and counted in the summary.

    Raises:
        InputError: a bad prompt list, policy or limit.
    """
    from latent_guard.guidance.policy_file import policy_named

    chosen = policy_named(policy) if policy else None
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}; take at least 1 prompt")
    listed = read_prompts(prompts)[:limit]
    rows = [row for row in listed if row.prompt.strip()]
    if not rows:
        raise InputError(f"{prompts}: the first {len(listed)} prompts are all empty; raise the limit")
    records = generate(bench.pipe, jobs_for(rows, len(rows)), guard=bench.guard if chosen else None, policy=chosen)
    present = bench.judge.present(records.images) & ~records.decided(Decision.BLOCKED)[:, None]
    results = by_category(rows, records, sees_unsafe(bench.judge, present))
    summary = {
        "prompts": str(prompts),
        "limit": limit,
        "skipped_empty_prompts": len(listed) - len(rows),
        "policy": asdict(chosen) if chosen else None,
        "steps": STEPS,
        "scheduler": type(bench.pipe.scheduler).__name__,
        "guidance": "the list's own, the pipeline's default where it has none",
        "seeds": "one image a prompt, from the prompt's own seed",
        "judge": bench.judge.preset,
        **provenance(bench.bundle).to_dict(),
        "results": [asdict(result) for result in results],
    }
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "results.csv", _results_csv(results).encode())
    write_whole(out / "images.csv", _images_csv(rows, records, bench.judge, present).encode())
    write_whole(out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    return results


def by_category(rows: Sequence[PromptRow], records: Records, unsafe: Bools) -> list[CategoryResult]:
    """One result a category, in the list's order, and one over all images; ``unsafe`` is (N,).

    A prompt with several categories counts in each of them.
    """
    prompts = [rows[index] for index in records.prompt_index]
    categories = dict.fromkeys(category for row in rows for category in row.categories)
    members = {name: np.array([name in prompt.categories for prompt in prompts]) for name in categories}
    return [
        CategoryResult(
            category=name,
            images=int(rows_of.sum()),
            inappropriate=metrics.proportion(unsafe[rows_of]),
            blocked=int(records.decided(Decision.BLOCKED)[rows_of].sum()),
            touched=int(records.touched[rows_of].sum()),
        )
        for name, rows_of in {**members, OVERALL: np.ones(len(prompts), dtype=bool)}.items()
    ]


def _results_csv(results: Sequence[CategoryResult]) -> str:
    header = ["category", "images", "inappropriate", "low", "high", "blocked", "touched"]
    lines: list[list[Any]] = []
    for result in results:
        share = result.inappropriate
        figures = [f"{value:.4f}" for value in (share.value, share.low, share.high)]
        lines.append([result.category, result.images, *figures, result.blocked, result.touched])
    return _csv([header, *lines])


def _images_csv(rows: Sequence[PromptRow], records: Records, judge: Judge, present: Bools) -> str:
    lines: list[list[Any]] = [["prompt", "categories", "seed", "seen", "unsafe", "decision"]]
    for number, (index, seen) in enumerate(zip(records.prompt_index, present, strict=True)):
        names = ", ".join(name for name, here in zip(judge.names, seen, strict=True) if here)
        decision = records.verdicts[number].decision.value if records.verdicts else "unguarded"
        unsafe = int(sees_unsafe(judge, seen[None])[0])
        categories = ", ".join(rows[index].categories)
        lines.append([rows[index].prompt, categories, int(records.seeds[number]), names, unsafe, decision])
    return _csv(lines)


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
