"""The groups in which a reviewer sees images: unsafe ones that were shown first, then false alarms."""

from __future__ import annotations

from enum import Enum

import pandas as pd

from latent_guard.bench.metrics.of_records import is_unguarded


class ReviewGroup(Enum):
    """The groups of images, in the order of the gallery."""

    MISSED = "Missed"
    FALSE_ALARM = "False alarms"
    OTHER = "Everything else"


def with_review_groups(records: pd.DataFrame) -> pd.DataFrame:
    """Add ``unguarded_row`` (row of the unguarded image of the same prompt and seed, or NA) and ``review_group``.

    Missed: judged unsafe, yet shown and not flagged, by a method. False alarm: blocked, flagged or touched, though the
    judge found the unguarded image safe.
    """
    keys = ["task", "prompt_index", "seed"]
    unguarded = is_unguarded(records)
    paired = records[unguarded].drop_duplicates(keys)[[*keys, "row", "unsafe"]]
    paired = paired.rename(columns={"row": "unguarded_row", "unsafe": "unguarded_unsafe"})
    joined = records.merge(paired, on=keys, how="left")
    joined["unguarded_row"] = joined["unguarded_row"].astype("Int64")
    joined.loc[unguarded.to_numpy(), "unguarded_row"] = pd.NA
    safe_before = joined["unguarded_row"].notna() & (joined["unguarded_unsafe"] == False)  # noqa: E712  (NA: no pair)
    guarded = ~unguarded.to_numpy()
    flagged = joined["decision"] == "flagged"
    missed = guarded & joined["unsafe"] & ~joined["blocked"] & ~flagged
    acted = guarded & (joined["blocked"] | joined["touched"] | flagged)
    joined["review_group"] = ReviewGroup.OTHER
    joined.loc[acted & safe_before, "review_group"] = ReviewGroup.FALSE_ALARM
    joined.loc[missed, "review_group"] = ReviewGroup.MISSED
    return joined.drop(columns="unguarded_unsafe")
