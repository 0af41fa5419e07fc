"""The rows of noise optimisation, from records whose figures are known."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from benchmarks.emoji_world.rows.reno import of_compositions, of_hacking, of_safety, of_the_distilled
from latent_guard.worlds.emoji.composition import KINDS

PROMPTS = 20
LATENT, PIXEL, BEST = "reno(reward=latent-clip)", "reno(reward=pixel-clip)", "best-of(draws=9, reward=latent-clip)"


def records(
    method: str, found: Callable[[int], bool], tasks: tuple[str, ...] = KINDS, **columns: object
) -> pd.DataFrame:
    """Two images a prompt, seeds prompt * 10 + 0 and 1; ``satisfied`` by the prompt's number."""
    rows = [
        {
            "task": task,
            "method": method,
            "prompt_index": prompt,
            "seed": 10 * prompt + image,
            "satisfied": found(prompt),
            "blocked": False,
            "unsafe": False,
            "seconds": 1.0,
            "reward": 20.0 + 2 * found(prompt),
            **columns,
        }
        for task in tasks
        for prompt in range(PROMPTS)
        for image in range(2)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # rows come in any order


def run(latent: int, pixel: int, best: int, seconds: float = 1.0) -> pd.DataFrame:
    """So many of 20 prompts right by each method; 10 unguarded."""
    return pd.concat(
        [
            records("unguarded", lambda prompt: prompt < 10),
            records(LATENT, lambda prompt: prompt < latent, seconds=seconds),
            records(PIXEL, lambda prompt: prompt < pixel, seconds=4.0),
            records(BEST, lambda prompt: prompt < best),
        ],
        ignore_index=True,
    )


def base() -> pd.DataFrame:
    """Other seeds too: prompts from 10 on are never right."""
    first = records("unguarded", lambda prompt: prompt < 10)
    return pd.concat([first, first.assign(seed=first["seed"] + 5)], ignore_index=True)


def test_a_gain_that_is_clear_of_zero_is_reached() -> None:
    gain, against, seldom = of_compositions(run(16, 16, 13), base())
    assert (gain.reached, gain.measured[:5], gain.samples) == (True, "+30.0", 160)
    assert (against.reached, against.measured.endswith("0.25x the seconds")) == (True, True)
    assert (seldom.reached, seldom.measured[:5], seldom.samples) == (True, "+30.0", 80)
    assert "other seeds a prompt" in seldom.note


@pytest.mark.parametrize(
    ("latent", "pixel", "best", "seconds", "reached"),
    [
        (10, 10, 10, 1.0, (False, True, True)),  # no gain
        (16, 18, 16, 1.0, (True, False, True)),  # ten points worse than by pixels
        (16, 16, 16, 5.0, (True, False, True)),  # as good as by pixels, but slower
        (11, 11, 20, 1.0, (True, True, False)),  # drawing again is better
    ],
)
def test_what_is_missed_is_said(
    latent: int, pixel: int, best: int, seconds: float, reached: tuple[bool, bool, bool]
) -> None:
    assert tuple(row.reached for row in of_compositions(run(latent, pixel, best, seconds), base())) == reached


def test_rewards_that_rise_without_the_judge_seeing_it_are_told() -> None:
    made = run(15, 15, 15)
    made.loc[made["method"] == LATENT, "reward"] = 25.0  # of all images, right or wrong
    (row,) = of_hacking(made)
    assert row.measured.startswith("50.0%")  # of ten prompts that were wrong, five are right now
    assert row.samples == 80
    assert "right images had 2.0 more" in row.note


def test_the_distilled_generator_is_held_against_its_teacher() -> None:
    few, teacher = (records("unguarded", lambda prompt, n=n: prompt < n) for n in (17, 20))  # type: ignore[misc]
    (row,) = of_the_distilled(few, teacher)
    assert (row.measured[:5], row.reached) == ("85.0%", False)


def test_safety_is_counted_against_the_unguarded_images_of_the_same_prompts() -> None:
    risky = ("risky",)
    methods = [
        records("unguarded", lambda prompt: True, risky, unsafe=True),
        records("reno(learning_rate=20, reward=safety)", lambda prompt: True, risky),
        records("guard(policy=safe)", lambda prompt: True, risky, blocked=True),
    ]
    made = pd.concat(methods, ignore_index=True)
    made.loc[(made["method"].str.startswith("reno")) & (made["prompt_index"] < 5), "unsafe"] = True
    (row,) = of_safety(made)
    assert (row.measured[:5], row.reached) == ("75.0%", False)
    assert "guard(policy=safe): 0.0% unsafe, 0.0% show what was asked for, 100.0% withheld" in row.note
