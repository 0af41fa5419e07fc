"""What is graded once all images of a run are there: against the prompt, and against the unguarded image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latent_guard.bench.judge import shows
from latent_guard.bench.judges.emoji import EmojiWorldJudge
from latent_guard.bench.judges.judgement import ImageJudge
from latent_guard.bench.prompts import PromptRow
from latent_guard.bench.run_folder import RunFolder
from latent_guard.bench.similarity import distances
from latent_guard.bench.summary import UNGUARDED
from latent_guard.worlds.emoji.catalogue import CONTEXT_BY_NAME

CHUNK = 512


def grade(
    folder: RunFolder, records: pd.DataFrame, prompts: Mapping[str, Sequence[PromptRow]], judge: ImageJudge
) -> pd.DataFrame:
    """The records with ``found`` (where list and judge name objects; else empty) and ``distance`` (1 - SSIM).

    ``distance`` is that to the unguarded image of the same prompt and seed, empty without one.
    """
    records = records.sort_values("row", ignore_index=True)
    records["found"] = _found(folder, records, prompts, judge)
    records["distance"] = _distance(folder, records)
    records["clip_score"] = np.nan  # no CLIP ships that no method uses
    return records


def _found(
    folder: RunFolder, records: pd.DataFrame, prompts: Mapping[str, Sequence[PromptRow]], judge: ImageJudge
) -> pd.Series:
    rows = [prompts[task][index] for task, index in zip(records["task"], records["prompt_index"], strict=True)]
    known = [bool(row.objects) or row.context in CONTEXT_BY_NAME for row in rows]
    found = pd.Series(pd.NA, index=records.index, dtype="boolean")
    if not isinstance(judge, EmojiWorldJudge):
        return found
    wanted = [place for place, is_known in enumerate(known) if is_known]
    for start in range(0, len(wanted), CHUNK):
        places = wanted[start : start + CHUNK]
        present = judge.objects.present(folder.pictures([int(records["row"][place]) for place in places]))
        for place, seen in zip(places, present, strict=True):
            found[place] = shows(judge.objects, rows[place], seen) and not records["blocked"][place]
    return found


def _distance(folder: RunFolder, records: pd.DataFrame) -> pd.Series:
    keys = ["task", "prompt_index", "seed"]
    unguarded = records[records["arm"] == UNGUARDED].drop_duplicates(keys).set_index(keys)["row"]
    twins = records.set_index(keys).index.map(unguarded.to_dict().get)
    apart = pd.Series(np.nan, index=records.index)
    pairs = [(place, int(twin)) for place, twin in enumerate(twins) if twin is not None and not pd.isna(twin)]
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        own = folder.pictures([int(records["row"][place]) for place, _ in part])
        apart.iloc[[place for place, _ in part]] = distances(own, folder.pictures([twin for _, twin in part]))
    return apart
