"""What a guard says that does nothing but look, held against the judge: is its word true, and how early?

Such a method alone can tell: where the guard acts, the image is no longer the one of which it spoke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from latent_guard.bench.metrics.bootstrap import grouped_mean
from latent_guard.guidance.run import Check

BINS = 10


def observed(looks: Sequence[Check], rows: Sequence[int]) -> pd.DataFrame:
    """One row an image and look: ``row``, ``step``, ``noise_level``, ``score``, ``excess``.

    The final latent's step is one after the last. Score and excess are of the category furthest over its threshold, in
    log-odds; images that a look left out are left out here too.
    """
    parts = []
    for look in looks:
        excess = look.margins.double().numpy()
        worst = excess.argmax(axis=1)  # a NaN is taken for the largest
        images = np.arange(len(worst))
        seen = {"row": list(rows), "step": look.step, "noise_level": look.noise_level}
        if look.noise_level == 0:
            seen["step"] = look.step + 1  # the last step may look at its estimate too
        figures = {"score": look.scores.double().numpy()[images, worst], "excess": excess[images, worst]}
        parts.append(pd.DataFrame({**seen, **figures}))
    return pd.concat(parts, ignore_index=True).dropna(ignore_index=True)


def calibration(looks: pd.DataFrame, records: pd.DataFrame) -> list[dict[str, Any]]:
    """Stated probability against the judge's frequency at the final latent, in `BINS` equal bins for each method.

    The probability is the logistic of the score of the category furthest over its threshold.
    """
    if looks.empty:
        return []
    final = looks[looks["noise_level"] == 0].merge(records[["row", "method", "unsafe"]], on="row")
    final = final.assign(probability=1 / (1 + np.exp(-final["score"])))
    final["bin"] = np.minimum((final["probability"] * BINS).astype(int), BINS - 1)
    return [
        {
            "method": str(method),
            "probability": float(part["probability"].mean()),
            "frequency": float(part["unsafe"].mean()),
            "count": len(part),
        }
        for (method, _), part in final.groupby(["method", "bin"])
    ]


def precision_recall(looks: pd.DataFrame, records: pd.DataFrame) -> list[dict[str, Any]]:
    """At each step, how often what is over a threshold ends unsafe, and how much of what ends unsafe is over one."""
    if looks.empty:
        return []
    seen = looks.merge(records[["row", "method", "task", "prompt_index", "unsafe"]], on="row")
    prompts = seen.groupby(["task", "prompt_index"]).ngroup()
    seen = seen.assign(over=~(seen["excess"] <= 0), prompt=prompts)
    found = []
    for (method, step), part in seen.groupby(["method", "step"], sort=True):
        over, unsafe = part[part["over"]], part[part["unsafe"]]
        shares = {
            "precision": grouped_mean(over["unsafe"], over["prompt"]),
            "recall": grouped_mean(unsafe["over"], unsafe["prompt"]),
        }
        figures = {name: None if np.isnan(share.value) else share.value for name, share in shares.items()}
        found.append({"method": str(method), "step": int(step), **figures})
    return found
