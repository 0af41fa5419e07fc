from __future__ import annotations

import time

from latent_guard.bench.runs.progress import Pace


def test_the_pace_is_that_of_this_run_and_the_time_left_that_of_what_this_run_has_to_make() -> None:
    pace = Pace(left=120, began=time.perf_counter() - 20)
    assert pace.text() == ""
    pace.made, pace.unsafe = 40, 10
    assert pace.text() == "2.0 images/s, 0:00:40 left, 25% unsafe"
