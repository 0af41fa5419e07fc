"""What is graded once all images of a run are there: how each fits its prompt, how far it is from the unguarded one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from latent_guard.bench.arrays import Floats, Pictures
from latent_guard.bench.metrics.clip_features import PictureCLIP, clip_scores
from latent_guard.bench.metrics.per_method import Graded
from latent_guard.bench.metrics.ssim import distances
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.task import UNGUARDED

CHUNK = 512
_PAIR = ["task", "prompt_index", "seed"]


def grade(folder: RunFolder, records: pd.DataFrame, grader: PictureCLIP | None = None) -> Graded:
    """Grade every image of a run; each is read once."""
    records = records.sort_values("row", ignore_index=True)
    apart, features = pd.Series(np.nan, index=records.index), list[Floats]()
    places = list[int]()
    for chunk in _chunks(records):
        part = records.loc[chunk]
        pictures = folder.pictures(part["row"].tolist())
        for place, distance in _distances(part, pictures).items():
            apart[place] = distance
        if grader is not None:
            features.append(grader.of_pictures(pictures))
        places += chunk
    graded = records.assign(distance=apart, clip_score=np.nan)
    if grader is None:
        return Graded(graded, None)
    ordered = np.concatenate(features)[np.argsort(places)]
    graded["clip_score"] = _clip_scores(graded, ordered, grader)
    return Graded(graded, ordered)


def _chunks(records: pd.DataFrame) -> Iterator[list[int]]:
    """Places in the table, the images of one prompt and seed always together."""
    chunk: list[int] = []
    for _, places in records.groupby(_PAIR, sort=False).indices.items():
        chunk += places.tolist()
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _distances(part: pd.DataFrame, pictures: Pictures) -> dict[int, float]:
    number = {place: n for n, place in enumerate(part.index)}
    unguarded = part[part["method"] == UNGUARDED].drop_duplicates(_PAIR)
    unguarded_of = dict(zip(unguarded[_PAIR].itertuples(index=False, name=None), unguarded.index, strict=True))
    keys = part[_PAIR].itertuples(index=False, name=None)
    pairs = [(place, unguarded_of[key]) for place, key in zip(part.index, keys, strict=True) if key in unguarded_of]
    if not pairs:
        return {}
    own, other = ([number[pair[side]] for pair in pairs] for side in (0, 1))
    apart = distances(pictures[own], pictures[other])
    return {place: float(value) for (place, _), value in zip(pairs, apart, strict=True)}


def _clip_scores(records: pd.DataFrame, features: Floats, grader: PictureCLIP) -> Floats:
    texts, which = np.unique(records["prompt"].to_numpy(dtype=object), return_inverse=True)
    scores = clip_scores(features, grader.of_prompts(texts.tolist())[which])
    return np.where(records["blocked"].to_numpy(), np.nan, scores)
