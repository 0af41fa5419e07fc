from __future__ import annotations

import subprocess
import sys

import latent_guard

PUBLIC = [
    "AuditLog",
    "ConceptBank",
    "Decision",
    "FunctionReward",
    "GuardedOutput",
    "LatentCLIP",
    "LatentClipReward",
    "LatentGuard",
    "LatentGuardCallback",
    "LatentSpace",
    "Moderator",
    "OptimisedNoise",
    "PixelClipReward",
    "Policies",
    "Policy",
    "PromptSet",
    "SafetyReward",
    "Verdict",
    "errors",
    "optimise_noise",
    "shipped",
]
ERRORS = [
    "BlockedError",
    "CheckpointError",
    "DeviceMemoryError",
    "GuardError",
    "InputError",
    "LatentGuardError",
    "LatentSpaceMismatchError",
    "UnsupportedPipelineError",
]
HEAVY = ["torch", "diffusers", "transformers", "open_clip", "numpy", "PIL", "yaml"]


def test_the_public_names_are_these_and_each_can_be_had() -> None:
    assert latent_guard.__all__ == PUBLIC
    assert all(getattr(latent_guard, name) is not None for name in PUBLIC)
    assert set(PUBLIC) < set(dir(latent_guard))
    assert not hasattr(latent_guard, "Nonesuch")


def test_the_exception_tree_is_this_one() -> None:
    errors = latent_guard.errors
    assert sorted(name for name, value in vars(errors).items() if isinstance(value, type)) == ERRORS
    assert all(issubclass(getattr(errors, name), errors.LatentGuardError) for name in ERRORS)
    assert issubclass(errors.LatentSpaceMismatchError, errors.UnsupportedPipelineError)


def test_importing_the_package_or_its_command_line_loads_nothing_heavy() -> None:
    script = f"import sys, latent_guard, latent_guard.cli.app; print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
