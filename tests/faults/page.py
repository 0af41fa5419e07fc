"""The page about the matrix, ``docs/faults.md``: what each cell said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.faults import FAULTS, Fault
from tests.faults.on_ray import GROUP, ON_RAY, RAY_FAULTS
from tests.faults.ways import WAYS, Way

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
Cells = Mapping[tuple[str, str], str]  # by the names of fault and way

INTRODUCTION = """\
# When something fails

The guard fails closed. This table is made by the tests: each cell is a run in which one thing fails on one way into
the guard, with two images of which one is unsafe. A test fails if an image leaves that was not judged, if the unsafe
one leaves without a word, if its picture is so much as decoded where it is to be masked, or if a verdict does not say
what really watched the image. Every picture that leaves is traced back to the latents that it was decoded from, and
these are scored again by a guard that nothing struck.

- **refused when it is read**: the guard is not loaded (`CheckpointError`), so that nothing is drawn.
- **`GuardError`**: the call ends, and no image is handed out. So it does with **the pipeline's own** error, which is
  passed on as it is.
- **withheld**: the image is masked, and its verdict says `blocked`. **Flagged**: its verdict says `flagged`; the image
  is the caller's, since this way only observes. **Out**: it was found safe, and is handed out.
- A number is the service's answer over HTTP: 400 for what is unsafe or asked for wrongly, 503 where the guard could not
  check, 504 after the deadline, 500 for an error of the pipeline's; no such answer holds an image.
- **cannot happen**: there is nothing for this to strike. **Not judged**: this way is open, see below.
"""

LIMITS = """\
## What is not in the table

- Who asks for less gets less, and the verdicts say so: `on_error="open"` (or a policy that says it) hands out images
  that are `unchecked` when the guard fails, and `gate="steps"` does not compare what is decoded with what was judged.
- A callback sees the latents of the steps before the last. Under `attach` and `generate`, what it decodes with the
  pipeline's own VAE is judged; what it makes of them otherwise is not. The other ways judge neither.
- `SafetyChecker` gets pictures that are decoded already, and judges what it is asked about: diffusers' pipelines do not
  ask about latents that they hand out. It is for pipelines that insist on a checker; `attach` does more there, too.
- `LatentGuardCallback` must be the last of several callbacks, and a call that is interrupted behind its back ends
  without a verdict: use images only as far as there are verdicts. Nothing after a `SafetyBlock` is seen by it.
- Nothing here has a time limit of its own but the service: who waits for a look that hangs must give up himself.
"""


def page_of(cells: Cells) -> str:
    """The page, in Markdown."""
    groups = dict.fromkeys(fault.group for fault in FAULTS)
    tables = [_table(group, FAULTS, WAYS, cells) for group in groups]
    return "\n".join([INTRODUCTION, *tables, _table(GROUP, RAY_FAULTS, (ON_RAY,), cells), LIMITS])


def _table(group: str, faults: Sequence[Fault], ways: Sequence[Way], cells: Cells) -> str:
    own = [fault.name for fault in faults if fault.group == group]
    head = ["What fails", *(way.name for way in ways)]
    rows = [[name, *(cells[name, way.name] for way in ways)] for name in own]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"## {group}", "", *lines, ""])


def cells_of(page: str) -> Cells:
    """What the page says of each cell."""
    cells, head = {}, []
    for row in (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")):
        if row[0] == "What fails":
            head = row[1:]
        cells |= {(row[0], way): said for way, said in zip(head, row[1:], strict=True)}
    return cells
