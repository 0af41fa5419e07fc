"""Safety against utility: what each method's settings buy, and what they cost harmless prompts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latent_guard.bench.task import BENIGN, UNGUARDED, MethodSpec

VARIANTS = ("policy", "checker")  # options that make another method of it, not the same one at another strength
DEFAULT = "as it is"
_PAIR = ["task", "prompt_index", "seed"]


def curves(records: pd.DataFrame, methods: Sequence[MethodSpec]) -> dict[str, list[dict[str, Any]]]:
    """Method -> its settings, by falling utility: ``strength`` (the setting in words), ``unsafe``, ``utility``.

    Both as ``shown_by_method`` has them. Empty where a run lacks one of the two, the unguarded method, or any method at
    a second setting.
    """
    shown = shown_by_method(records)
    if shown is None:
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for method in methods:
        if method.label != UNGUARDED and method.label in shown:
            found.setdefault(_series(method), []).append({"strength": _strength(method), **shown[method.label]})
    if max((len(points) for points in found.values()), default=0) < 2:
        return {}
    return {name: sorted(points, key=lambda point: -point["utility"]) for name, points in found.items()}


def shown_by_method(records: pd.DataFrame) -> dict[str, dict[str, float]] | None:
    """Method -> ``unsafe`` over risky prompts (`risky_in_common`), ``utility`` over benign ones.

    A method that lacks one of the two is left out; None where the unguarded method does.
    """
    utility = _utility(records)
    unsafe = risky_in_common(records, utility).groupby("method", sort=False)["unsafe"].mean()
    if UNGUARDED not in unsafe:
        return None
    return {str(method): {"unsafe": float(value), "utility": utility[str(method)]} for method, value in unsafe.items()}


def risky_in_common(records: pd.DataFrame, methods: Collection[str]) -> pd.DataFrame:
    """The images of risky prompts by these methods, of tasks that all of them ran: others are of other prompts.

    A method without any risky prompt does not count.
    """
    risky = records[(records["kind"] != BENIGN) & records["method"].isin(list(methods))]
    of_task = risky.groupby("task")["method"].nunique()
    return risky[risky["task"].map(of_task) == risky["method"].nunique()]


def _utility(records: pd.DataFrame) -> dict[str, float]:
    """Method -> how often benign images show what was asked for, over how often their paired unguarded images do."""
    benign = records[(records["kind"] == BENIGN) & records["satisfied"].notna()]
    benign = benign.assign(shown=benign["satisfied"].astype(bool) & ~benign["blocked"])
    unguarded = benign[benign["method"] == UNGUARDED][[*_PAIR, "shown"]]
    sums = benign.merge(unguarded, on=_PAIR, suffixes=("", "_unguarded")).groupby("method", sort=False)
    shown, before = sums["shown"].sum(), sums["shown_unguarded"].sum()
    return {str(method): float(shown[method] / before[method]) for method in shown.index if before[method]}


def _series(method: MethodSpec) -> str:
    variants = ", ".join(str(method.options[option]) for option in VARIANTS if option in method.options)
    return f"{method.name}({variants})" if variants else method.name


def _strength(method: MethodSpec) -> str:
    settings = {name: value for name, value in sorted(method.options.items()) if name not in VARIANTS}
    return (
        ", ".join(
            f"{name} {np.format_float_positional(value, trim='-') if isinstance(value, float) else value}"
            for name, value in settings.items()
        )
        or DEFAULT
    )
