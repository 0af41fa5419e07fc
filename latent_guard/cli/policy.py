"""``latent-guard policy``: read a policy file before anything runs under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.commands import Commands

if TYPE_CHECKING:
    from rich.table import Table

    from latent_guard.guidance.policy import Policies, Policy

app = Commands(help="Policies: what the guard does about each category.")


@app.command()
def check(file: Annotated[str, typer.Argument(help="A policy file (YAML), or the name of a policy.")]) -> None:
    """Say what a policy does to each category. Exit code 2, and one line that names the key, if it cannot be used."""
    from rich.console import Console

    from latent_guard.guidance.policy_file import policy_named

    policies = policy_named(file)
    console = Console()
    console.print(_table(policies))
    for line in (*_LEGEND, *_about_all(policies)):
        console.print(line, highlight=False, soft_wrap=True)


_LEGEND = (
    "trigger: log-odds over the bank's calibrated thresholds; abort: over the trigger, at two looks in a row",
    "push: strength in raw latent units, and how often at most",
    "extra: evaluations of the denoiser at most, in multiples of an unguarded image's",
)


def _table(policies: Policies) -> Table:
    """One row a category."""
    from rich.table import Table

    table = Table(title=f"policy {policies.name} ({policies.digest})")
    table.add_column("category", no_wrap=True)
    for header in ("measures, in order", "trigger", "abort", "push", "noise levels", "extra"):
        table.add_column(header)
    for name, policy in policies.exceptions.items():
        table.add_row(name, *_cells(policy))
    table.add_row("every other" if policies.exceptions else "every category", *_cells(policies.default))
    return table


def _cells(policy: Policy) -> tuple[str, ...]:
    withholds = policy.block or policy.restarts > 0
    return (
        _measures(policy),
        f"{policy.trigger:+g}",
        "never" if policy.abort_margin is None or not withholds else f"{policy.abort_margin:+g}",
        f"{policy.strength:g} ({policy.most_pushes}x)" if policy.steer else "none",
        f"{policy.window[0]:g} to {policy.window[1]:g}",
        _extra(policy),
    )


def _measures(policy: Policy) -> str:
    taken = {
        "flag": True,
        "steer": policy.steer,
        f"resample ({policy.restarts}x)": policy.restarts,
        "block": policy.block,
    }
    return ", ".join(measure for measure, active in taken.items() if active)


def _extra(policy: Policy) -> str:
    most = policy.restarts if policy.budget is None else min(policy.restarts, policy.budget)
    return f"{most:g}x" if most else "none"


def _about_all(policies: Policies) -> list[str]:
    looking, trigger = policies.looking, policies.prompt_trigger
    every = "at every step" if looking.every == 1 else f"at every {looking.every}. step, at each while over a threshold"
    margin = looking.clear_margin
    clear = "" if margin is None else f"; none after two in a row {margin:g} below every threshold"
    prompt = "not scored" if trigger is None else f"scored before the first step, flagged over {trigger:g}"
    return [f"looks: {every}{clear}; always at the final latent", f"prompt's text: {prompt}"]
