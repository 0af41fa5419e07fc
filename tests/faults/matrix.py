"""The matrix: a cell runs one way into the guard while one fault strikes, and says what came of it."""

from __future__ import annotations

from pathlib import Path

from tests.faults.faults import FAULTS, Fault
from tests.faults.on_ray import ON_RAY, RAY_FAULTS
from tests.faults.outcome import attempted, came_of, decoded
from tests.faults.scene import scene
from tests.faults.ways import ABSENT, WAYS, Way

CELLS = [*((fault, way) for fault in FAULTS for way in WAYS), *((fault, ON_RAY) for fault in RAY_FAULTS)]


def cell(fault: Fault, way: Way, work: Path) -> str:
    """What comes of a fault on a way, in a few words; ``LeakError`` if an image leaves that must not.

    ``work`` is a folder of its own.
    """
    if fault.needs and fault.needs not in way.has:
        return f"cannot happen: {ABSENT[fault.needs]}"
    if fault.name in way.unasked:
        return "**not judged**: nobody asks it"
    own = scene(work)
    with decoded(own.pipe.vae) as made, fault.strike(own):
        came = attempted(lambda: way.run(own))
    if not way.observes and not way.of_pixels:
        made.require_nothing_unsafe(own.known)
    return came_of(came, own.known, made, way.watched, observes=way.observes)
