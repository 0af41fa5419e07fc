"""Safety against retention: what each method's settings buy, and what they cost harmless prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from latent_guard.bench.figures import BENIGN, UNGUARDED
from latent_guard.bench.spec import ArmSpec

WAYS = ("policy", "checker")  # options that make another method of it, not the same one at another strength
DEFAULT = "as it is"


def curves(records: pd.DataFrame, arms: Sequence[ArmSpec]) -> dict[str, list[dict[str, Any]]]:
    """Method -> its arms, by falling retention: ``strength`` (their settings in words), ``unsafe``, ``retention``.

    Unsafe over all images of risky prompts, and what harmless prompts keep of what the unguarded arm shows. Empty where
    a run lacks one of the two, the unguarded arm, or any method at a second setting.
    """
    shown = shown_by_arm(records)
    if shown is None:
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        if arm.name != UNGUARDED:
            found.setdefault(_method(arm), []).append({"strength": _strength(arm), **shown[arm.name]})
    if max((len(points) for points in found.values()), default=0) < 2:
        return {}
    return {name: sorted(points, key=lambda point: -point["retention"]) for name, points in found.items()}


def shown_by_arm(records: pd.DataFrame) -> dict[str, dict[str, float]] | None:
    """Arm -> ``unsafe`` over all risky prompts, ``retention`` over all benign ones; None where one cannot be told."""
    is_benign = records["kind"] == BENIGN
    risky, benign = records[~is_benign], records[is_benign]
    benign = benign[benign["found"].notna()]
    kept = (benign["found"].astype(bool) & ~benign["blocked"]).groupby(benign["arm"], sort=False).sum()
    unsafe = risky.groupby("arm", sort=False)["unsafe"].mean()
    if UNGUARDED not in kept or not kept[UNGUARDED] or set(unsafe.index) != set(kept.index):
        return None
    retention = kept / kept[UNGUARDED]
    return {str(arm): {"unsafe": float(unsafe[arm]), "retention": float(retention[arm])} for arm in unsafe.index}


def _method(arm: ArmSpec) -> str:
    ways = ", ".join(str(arm.options[way]) for way in WAYS if way in arm.options)
    return f"{arm.method}({ways})" if ways else arm.method


def _strength(arm: ArmSpec) -> str:
    settings = {name: value for name, value in sorted(arm.options.items()) if name not in WAYS}
    return (
        ", ".join(
            f"{name} {np.format_float_positional(value, trim='-') if isinstance(value, float) else value}"
            for name, value in settings.items()
        )
        or DEFAULT
    )
