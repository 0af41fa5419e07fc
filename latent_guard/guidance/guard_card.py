"""The page that a published guard shows on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.policy import Policies, Policy

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.latent_space import LatentSpace


def guard_card(
    hub_id: str,
    fitted: FittedFor | None,
    bank: ConceptBank,
    policies: Policies,
    measured: Sequence[tuple[str, str]] = (),
    space: LatentSpace | None = None,
) -> str:
    """The card, in Markdown with the hub's metadata at its head.

    Args:
        hub_id: ``owner/name``, or a folder.
        fitted: None of a guard that was not fitted to a pipeline.
        bank: what it watches for.
        policies: those that it is used with by default.
        measured: what was measured on that pipeline, and what came out.
        space: that its Latent-CLIP reads.
    """
    from huggingface_hub import ModelCardData

    head = ModelCardData(library_name="latent-guard", tags=["latent-guard", "latent-clip", "safety"]).to_yaml()
    categories = ", ".join(bank.categories)
    elsewhere = "refuses to run" if policies.on_mismatch == "refuse" else "warns"
    return f"""---
{head}
---
# {hub_id.rstrip("/").split("/")[-1]}

A guard of Latent Guard: it reads the latents of a running diffusion pipeline, and steers, draws again or blocks what is
unsafe before a pixel is decoded. It watches for {len(bank.concepts)} concepts in {len(bank.categories)} categories:
{categories}.

## What it was fitted for

{_fitted(fitted)}
{_served(space)}
## Measured

{_table(("what", "measured"), measured) if measured else "Nothing was measured yet: `latent-guard fit` does."}

## Policy

{_table(("category", "measures"), _measures(policies))}

## Limits

What was measured holds for the pipeline, scheduler, steps and guidance above; elsewhere the guard {elsewhere}.
It knows the concepts of its bank and misses others; people who attack it get past it more often than chance does.

## Use

```python
from latent_guard import LatentGuard

guard = LatentGuard.from_pretrained("{hub_id}")
output = guard.generate(pipe, "a pirate party", seed=0{_call(fitted)})
```
"""


def _fitted(fitted: FittedFor | None) -> str:
    if fitted is None:
        return "No pipeline: its thresholds are those of its bank."
    high, low = fitted.window
    rows = [
        ("pipeline", f"`{fitted.pipeline}` ({fitted.pipeline_class})"),
        ("scheduler", fitted.scheduler),
        ("steps", str(fitted.steps)),
        *((name, str(value)) for name, value in fitted.arguments.items()),
        ("checks at noise levels", f"{high:g} to {low:g}, and at the final latent"),
    ]
    return _table(("", ""), rows)


def _served(space: LatentSpace | None) -> str:
    """Which other pipelines have the latents that it reads."""
    if space is None:
        return ""
    others = f" Pipelines of these latents: {space.served}." if space.served else ""
    return f"\nIt reads the latents of {space}.{others}\n"


def _measures(policies: Policies) -> list[tuple[str, str]]:
    named = [(name, _words(policy)) for name, policy in policies.exceptions.items()]
    return [*named, ("every other" if named else "every one", _words(policies.default))]


def _words(policy: Policy) -> str:
    taken = {"steer": policy.pushes, f"resample ({policy.retries}x)": policy.retries, "block": policy.block}
    return ", ".join(["flag", *(word for word, active in taken.items() if active)])


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"| {one} | {other} |" for one, other in (head, ("---", "---"), *rows))


def _call(fitted: FittedFor | None) -> str:
    if fitted is None:
        return ""
    return "".join(f", {name}={value!r}" for name, value in fitted.call.items())
