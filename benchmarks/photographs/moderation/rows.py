"""The rows of moderation by words: Latent-CLIP beside its pixel twin, and beside judges that others trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.photographs.moderation.conditions import CONDITIONS
from benchmarks.photographs.moderation.findings import at_equal_false_positives
from benchmarks.photographs.moderation.judges import Judged
from benchmarks.photographs.moderation.moderated import LEFT_OUT, Moderated
from benchmarks.photographs.moderation.pictures import BENIGN, Flags, Numbers, Photographs
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.concepts.conformal import rate_bounds
from latent_guard.intervals import Estimate, proportion

REPORTED = "reported"
LEAST = -3.0  # points of recall that a Latent-CLIP may lie below its twin
LOOK_ALIKES = ("ladybug", "spider web", "swimming trunks", "pop bottle", "water jug")
UNDRESSED = "revealing clothes"  # the one category that the judges look for


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that was measured.

    Attributes:
        latent: the Latent-CLIP.
        twin: the pixel twin.
        judges: what each judge says of the ``sample``.
        rates: of false positives, the row's first.
        open_because: why nothing is decided yet; empty where it is.
    """

    photographs: Photographs
    latent: Moderated
    twin: Moderated
    judges: Mapping[str, Judged]
    sample: Numbers
    rates: tuple[float, ...]
    open_because: str

    @property
    def models(self) -> dict[str, Moderated]:
        """Both, by name."""
        return {"Latent-CLIP": self.latent, "pixel twin": self.twin}


def rows_of(seen: Comparison) -> list[Row]:
    """All rows, the one with a target first."""
    return [
        *(_difference(seen, rate) for rate in seen.rates),
        *_at_thresholds(seen),
        *_look_alikes(seen),
        *(_left_out(name, model, seen.rates) for name, model in seen.models.items()),
        *(_lost(seen, condition) for condition in CONDITIONS),
        *_judges(seen),
    ]


def _difference(seen: Comparison, rate: float) -> Row:
    """Recall at equal false positives, paired by photograph; the thresholds count as given in the interval."""
    is_row = rate == seen.rates[0]
    unsafe = seen.latent.unsafe
    own, theirs = (model.matched(rate)[unsafe] for model in (seen.latent, seen.twin))
    gap = bootstrap.grouped_difference(own, theirs, np.arange(own.size))
    what = f"moderation by words at {rate:.0%} false positives: recall, Latent-CLIP minus twin"
    reached = None if is_row and seen.open_because else not is_row or 100 * gap.value >= LEAST
    note = f"{own.mean():.1%} and {theirs.mean():.1%}, thresholds shifted alike to as many false positives"
    note += ", and held there in the interval"
    note += f"; open: {seen.open_because}" if is_row and seen.open_because else ""
    return Row(what, f">= {LEAST:+g} points" if is_row else REPORTED, points(gap), gap.count, reached, note)


def _at_thresholds(seen: Comparison) -> Iterator[Row]:
    """Recall, precision and false positives of each model as it was calibrated."""
    for name, model in seen.models.items():
        for rate in seen.rates:
            flags, unsafe = model.flags(rate), model.unsafe
            right, wrong = flags[unsafe], flags[~unsafe]
            low, high = rate_bounds(int(wrong.sum()), wrong.size)
            precision = f"precision {right.sum() / max(1, flags.sum()):.1%} where {unsafe.mean():.1%} are unsafe"
            bounds = f"one-sided 95% bounds {low:.2%} and {high:.2%}"
            yield _share(f"recall of {name}, calibrated to {rate:.0%}", right, precision)
            yield _share(f"false positives of {name}, calibrated to {rate:.0%}", wrong, bounds)


def _look_alikes(seen: Comparison) -> Iterator[Row]:
    rate = seen.rates[-1]
    groups = {
        "look-alikes": seen.photographs.of_classes(LOOK_ALIKES),
        "things that an anchor names": seen.photographs.named,
        "things that no anchor names": ~seen.photographs.named & ~seen.photographs.unsafe,
    }
    for what, of_group in groups.items():
        for name, model in seen.models.items():
            flags = model.flags(rate)[of_group[model.numbers]]
            note = ", ".join(LOOK_ALIKES) if what == "look-alikes" else ""
            yield _share(f"false positives among {what}, {name}, calibrated to {rate:.0%}", flags, note)


def _left_out(name: str, model: Moderated, rates: tuple[float, ...]) -> Row:
    """Recall of what no word named, and once words name it."""
    rate = rates[-1]
    before = model.flags_without_words(rate)
    after = model.flags(rate, numbers=model.unworded.numbers)
    gain = bootstrap.grouped_difference(after, before, np.arange(after.size))
    note = f"{before.mean():.1%} before and {after.mean():.1%} after: {', '.join(LEFT_OUT)}"
    note += "; pictures of them were among the unsafe ones that chose the scoring"
    what = f"recall gained by words for what was left out, {name}, calibrated to {rate:.0%}"
    return Row(what, REPORTED, points(gain), gain.count, True, note)


def _lost(seen: Comparison, condition: str) -> Row:
    """Recall lost to a condition, on the same photographs at the same thresholds, and recall once they are shifted."""
    rate = seen.rates[0]
    lost, notes, equal = {}, [], []
    for name, model in seen.models.items():
        numbers = model.found[condition].numbers
        unsafe = seen.photographs.unsafe[numbers]
        before, after = model.flags(rate, numbers=numbers), model.flags(rate, condition)
        lost[name] = bootstrap.grouped_difference(before[unsafe], after[unsafe], np.arange(int(unsafe.sum())))
        shifted = at_equal_false_positives(model.margins(rate, condition), unsafe, rate)
        equal.append(f"{shifted[unsafe].mean():.1%}")
        notes.append(f"{before[~unsafe].mean():.1%} to {after[~unsafe].mean():.1%}")
    own, theirs = lost.values()
    what = f"recall lost by Latent-CLIP, {condition}, calibrated to {rate:.0%}"
    note = (
        f"the twin loses {points(theirs)}; false positives {notes[0]}, the twin's {notes[1]}; recall at {rate:.0%} "
        f"of them in this condition {equal[0]}, the twin's {equal[1]}"
    )
    return Row(what, REPORTED, points(own), own.count, True, note)


def _judges(seen: Comparison) -> Iterator[Row]:
    """Judges at their own thresholds, and at as many false positives as the bank's lowest rate."""
    rate = seen.rates[0]
    categories = seen.photographs.categories[seen.sample]
    benign, shown = categories == BENIGN, categories == UNDRESSED
    either = benign | shown
    own = seen.latent.margins_of(UNDRESSED, rate, seen.sample)
    mine = at_equal_false_positives(own[either], shown[either], rate)[shown[either]].mean()
    for name, judged in seen.judges.items():
        scores = np.nan_to_num(judged.scores[either])
        equal = at_equal_false_positives(scores, shown[either], rate)[shown[either]].mean()
        note = (
            f"and {judged.unsafe[benign].mean():.1%} of the harmless, {judged.unsafe[~either].mean():.1%} of other "
            f"categories; at {rate:.0%} false positives {equal:.1%}, Latent-CLIP's score of this category {mine:.1%}"
        )
        yield _share(f"{name} at its own threshold: {UNDRESSED} flagged", judged.unsafe[shown], note)


def points(gap: Estimate) -> str:
    """A difference in points, with its interval."""
    return f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"


def _share(what: str, flags: Flags, note: str) -> Row:
    found = proportion(flags)
    return Row(what, REPORTED, found.percent(), found.count, True, note)
