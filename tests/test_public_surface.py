from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from importlib import import_module

import pytest

import latent_guard
from tests.sources import sources

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
    "SafetyBlock",
    "SafetyChecker",
    "SafetyReward",
    "Verdict",
    "errors",
    "optimise_noise",
    "shipped",
]
ROOMS = {
    "bench": "Baseline BenchmarkProtocol FunctionJudge Judge Judgement MethodSpec "
    "Spec TaskSpec World evaluate open_judge read_spec",
    "concepts": "CalibrationReport Concept ConceptBank PromptSet conformal_threshold prompt_sets_of read_prompt_sets",
    "files": "atomic_file read_json read_yaml write_atomic writing",
    "conformance": "Proof check_conformance check_decode_gate",
    "fitting": "Fit FitPrompts FitSettings Role UnsafePrompt Verification everyday_prompts fit fit_prompts seeded "
    "split unsafe_prompts",
    "guidance": "AuditLog Decision GuardedOutput LatentGuard LatentGuardCallback Moderator Policies Policy "
    "SafetyBlock SafetyChecker Verdict",
    "latent_clip": "LatentAdapter LatentCLIP LatentCLIPConfig LatentSpace TrainingFacts fit_adapter",
    "pipelines": "Canary DenoisingStep PipelineLatents clean_estimates generators_from_seed",
    "reno": "FunctionReward LatentClipReward OptimisedNoise PixelClipReward "
    "RenoSettings Reward SafetyReward optimise_noise",
    "report": "ReportFiles Run compare_runs read_run write_report",
    "review": "ReviewQueue ReviewStore make_keys read_private_key read_public_key",
    "serving": "Reloading Service Settings create_app",
    "testing": "BrokenLatentCLIP LinearLatentCLIP ScaleResult check_scale linear_bank linear_guard "
    "tiny_latent_clip tiny_pipeline write_bundle",
    "training": "Recipe ZeroShotEvaluation shipped_recipes train",
    "training.data": "LatentDataset ShardWriter TarShardWriter read_shards",
    "training.encoding": "Encoder ImageSource LatentPairs encode_pairs open_source",
    "worlds.emoji": "OBJECT_NAMES EmojiClassifier Scene bundle_folder few_step_folder",
    "zero_shot": "ClassSet accuracy class_embeddings from_open_clip retrieval_recall",
}
ERRORS = [
    "BlockedError",
    "CheckpointError",
    "DeviceMemoryError",
    "FittedForOtherError",
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


def test_the_public_names_of_each_room_are_these() -> None:
    packages = [module.name for module in pkgutil.walk_packages(latent_guard.__path__, "latent_guard.") if module.ispkg]
    public = {name: getattr(import_module(name), "__all__", []) for name in packages}
    found = {name.removeprefix("latent_guard."): " ".join(names) for name, names in public.items() if names}
    assert found == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_each_public_name_of_a_room_can_be_had(room: str) -> None:
    package = import_module(f"latent_guard.{room}")
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert not hasattr(package, "Nonesuch")


def test_the_package_itself_never_imports_its_test_doubles() -> None:
    importing = re.compile(r"^\s*(from|import) latent_guard\.testing", re.MULTILINE)
    found = [name for name, text in sources() if importing.search(text) and not name.startswith("testing/")]
    assert found == []
