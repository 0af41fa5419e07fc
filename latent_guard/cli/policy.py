"""``latent-guard policy``: check a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.commands import Commands
from latent_guard.terminal import Table, say

if TYPE_CHECKING:
    from latent_guard.guidance.policy import Policies, Policy

app = Commands(help="Policies: what the guard does about each category.")


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="A policy file (YAML), or the name of a policy.")],
    bank: Annotated[
        Path | None, typer.Option(help="Concept bank that it is for; by default the shipped one, if it has the names.")
    ] = None,
) -> None:
    """Print what a policy does to each category, and which categories can never act.

    Exit code 2, and one line that names the key, if it cannot be used.
    """
    from latent_guard.guidance.policy_file import policy_named

    policies = policy_named(file)
    _table(policies).show()
    for line in (*_LEGEND, *_about_all(policies), *_idle(policies, bank)):
        say(line)


_LEGEND = (
    "trigger: log-odds over the bank's calibrated thresholds; abort: over the trigger, at two checks in a row",
    "push: strength in normalised latents (of unit variance), and how often at most",
    "extra: evaluations of the denoiser at most, in multiples of an unguarded image's",
)

_OPEN = (
    "warning: on_error: open: where the guard itself fails, images are handed out UNCHECKED; "
    "leave on_error out, or say close, to hand out none"
)


def _idle(policies: Policies, bank: Path | None) -> list[str]:
    from latent_guard.bench.world import SHIPPED_WORLD
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.guidance.idle_categories import idle_categories

    loaded = ConceptBank.load(bank or SHIPPED_WORLD.bundle() / "bank")
    if bank is None and not set(policies.exceptions) <= set(loaded.categories):
        return ["whether each category can act depends on the bank; name yours with --bank"]
    return [f"warning: {line}" for line in idle_categories(policies, loaded)]


def _table(policies: Policies) -> Table:
    """The table of policies, one row a category."""
    header = ("category", "measures, in order", "trigger", "abort", "push", "noise levels", "extra")
    table = Table(*header, title=f"policy {policies.name} ({policies.digest})", whole=("category",))
    for name, policy in policies.exceptions.items():
        table.add(name, *_cells(policy))
    table.add("every other" if policies.exceptions else "every category", *_cells(policies.default))
    return table


def _cells(policy: Policy) -> tuple[str, ...]:
    masks = policy.block or policy.retries > 0
    return (
        _measures(policy),
        f"{policy.trigger:+g}" + (f" ({policy.retry_trigger:+g} again)" if policy.retry_trigger else ""),
        "never" if policy.abort_margin is None or not masks else f"{policy.abort_margin:+g}",
        f"{policy.strength:g} ({policy.max_pushes}x)" if policy.pushes else "none",
        f"{policy.window[0]:g} to {policy.window[1]:g}",
        _extra(policy),
    )


def _measures(policy: Policy) -> str:
    taken = {
        "flag": True,
        "steer": policy.pushes,
        f"resample ({policy.retries}x)": policy.retries,
        "block": policy.block,
    }
    return ", ".join(measure for measure, active in taken.items() if active)


def _extra(policy: Policy) -> str:
    most = policy.retries if policy.budget is None else min(policy.retries, policy.budget)
    return f"{most:g}x" if most else "none"


def _about_all(policies: Policies) -> list[str]:
    schedule, trigger = policies.check_schedule, policies.prompt_trigger
    every = (
        "at every step" if schedule.every == 1 else f"at every {schedule.every}. step, at each while over a threshold"
    )
    margin = schedule.clear_margin
    clear = "" if margin is None else f"; none after two in a row {margin:g} below every threshold"
    prompt = "not scored" if trigger is None else f"scored before the first step, flagged over {trigger:g}"
    lines = [f"checks: {every}{clear}; always at the final latent", f"prompt's text: {prompt}"]
    return lines if policies.on_error == "close" else [*lines, _OPEN]
