"""The models that ship with the package, ready to use.

    from latent_guard import shipped

    pipe, guard = shipped.pipeline(), shipped.guard(policy="strict")
    output = guard.generate(pipe, "a pirate party", seed=0, **shipped.ARGUMENTS)

The guard's thresholds were calibrated for these arguments: with other steps its rates are not those that were measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latent_guard.loading import load_guard, load_pipeline, usual_arguments
from latent_guard.package_data import SHIPPED_FEW_STEP

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy_file import AnyPolicy

ARGUMENTS = usual_arguments(None)
FEW_STEP_ARGUMENTS = usual_arguments(SHIPPED_FEW_STEP)


def pipeline(*, few_step: bool = False) -> Any:
    """The text-to-image pipeline of Emoji World, on the GPU where there is one.

    Args:
        few_step: the model that was distilled from it to four steps; call it with ``FEW_STEP_ARGUMENTS``.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    arguments = FEW_STEP_ARGUMENTS if few_step else ARGUMENTS
    return load_pipeline(SHIPPED_FEW_STEP if few_step else None, arguments["num_inference_steps"], images=1)


def guard(policy: AnyPolicy = "safe") -> LatentGuard:
    """The guard of these pipelines, with its bank, on the GPU where there is one.

    Raises:
        InputError: no policy of that name, or a policy file that cannot be used.
        CheckpointError: a file is missing or altered.
    """
    return load_guard(None, None, None, policy)
