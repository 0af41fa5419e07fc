"""Categories that can never act under some policies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from latent_guard.guidance.policy import Policies
from latent_guard.guidance.rules import Rules

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank


def idle_categories(policies: Policies, bank: ConceptBank) -> list[str]:
    """A line for each of a bank's categories that can never act under some policies: no image scores so high.

    Raises:
        InputError: the policies name a category that the bank does not have.
    """
    rules = Rules.of(policies, bank.categories)
    highest = bank.max_scores()
    return [
        f"{bank.categories[k]} can never act under the policy {policies.name}: no image scores over {highest[k]:.1f} "
        f"in it, and its threshold with trigger {rules.policies[k].trigger:+g} is higher"
        for k in rules.idle(highest, bank.thresholds.amin(dim=1))
    ]


def warn_of_idle_categories(policies: Policies, bank: ConceptBank) -> None:
    """Warn of each, at whoever calls the guard."""
    for line in idle_categories(policies, bank):
        warnings.warn(line, stacklevel=5)
