"""Every reader of a document in the package, with a document that it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import MagicMock

import torch
import yaml
from safetensors.torch import save_file

from latent_guard.bench.prompts.files import read_prompt_file
from latent_guard.bench.prompts.geneval import read_geneval
from latent_guard.bench.result_table import Row, RowStore
from latent_guard.bench.runs.cost_estimate import bytes_an_image
from latent_guard.bench.runs.folder import RunFolder
from latent_guard.bench.runs.merge import Shard
from latent_guard.bench.spec import Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.cli.findings_file import FindingsFile
from latent_guard.cli.replacing import _images_of_run
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.texts import Concept
from latent_guard.files.manifests import verify
from latent_guard.fitted_guards import identity_of
from latent_guard.fitting.pushes import Choice, Trial
from latent_guard.fitting.record import Job, Recording
from latent_guard.fitting.settings import FitSettings
from latent_guard.fitting.verify import Share, Verification
from latent_guard.guidance.audit_entries import read_audit
from latent_guard.guidance.audit_verify import verify as verify_log
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.policy import SAFE
from latent_guard.guidance.policy_file import read_policies
from latent_guard.guidance.verdict import Action, Decision, PromptScore, Reason, Verdict
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_files import read_config
from latent_guard.latent_clip.official_config import read_official_config
from latent_guard.latent_clip.presets import PRESETS
from latent_guard.pipelines.config_limits import check_parts
from latent_guard.pipelines.modular_folder import component_places
from latent_guard.report.best_method import best_method_sections
from latent_guard.report.i2p import i2p_sections
from latent_guard.report.markdown import markdown_page
from latent_guard.report.run_comparison import _of_tasks, read_runs
from latent_guard.report.run_folder import read_run
from latent_guard.report.sections import sections_of
from latent_guard.review.decisions import DecisionLog, ReviewDecision
from latent_guard.review.withheld import Details
from latent_guard.serving.moderation.category_table import CategoryTable
from latent_guard.serving.moderation.parts import moderation_input, read_object
from latent_guard.training.checkpoint import load_finished
from latent_guard.training.data.in_memory import _read_space, read_shards
from latent_guard.training.data.mapped_shards import MappedShards
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.data.tar_shards import Manifest
from latent_guard.training.encoding.plan import Plan, Settings
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.zero_shot.class_set import read_class_set
from tests.report import run_folder as report_run


@dataclass(frozen=True)
class Reader:
    """How one document is read.

    Attributes:
        module: which calls ``documents``.
        file: where the document lies in a folder.
        document: one that is read well.
        read: reads the document that lies in a folder.
        beside: writes what else has to lie there.
        forgives: what cannot be read counts for nothing there, as if it were not there.
        of_text: it reads no file, but a text.
        allows: of the hostile documents those that are good ones there.
    """

    module: str
    file: str
    document: Any
    read: Callable[[Path], object]
    beside: Callable[[Path], object] = lambda folder: None
    forgives: bool = False
    of_text: bool = False
    allows: tuple[str, ...] = ()

    @property
    def is_yaml(self) -> bool:
        return self.file.endswith(".yaml")

    def write(self, folder: Path, document: Any) -> None:
        text = yaml.safe_dump(document, sort_keys=False) if self.is_yaml else json.dumps(document)
        (folder / self.file).write_text(text if text.endswith("\n") else text + "\n")


RECIPE = {
    "data": ["shards"], "out": "out", "model": {"vision": {"width": 32}}, "steps": 5, "batch_size": 4,
    "learning_rate": 0.001, "evaluate": {"data": "a"}, "trackers": ["wandb"], "micro_batch": 2,
}  # fmt: skip
SPEC = Spec(
    "small", (TaskSpec("risky", "a.csv", 3),), (MethodSpec("sld", {"preset": "weak"}),), MethodSpec("emoji-judge")
)
ENVIRONMENT = {"judge": "a", "model": "b", "methods": {"sld": "c"}, "prompts": "d"}
SETTINGS = Settings("x", 1, "vae", PUBLISHED["SDXL"].to_dict(), {"vocab_size": 9, "context_length": 4}, "float16", 8, 3)
OFFICIAL = {
    "embed_dim": 512,
    "vision_cfg": {
        "image_size": 512, "layers": 12, "width": 768, "patch_size": 8,
        "latent_encoder_name": "stabilityai/sdxl-vae", "latent_factor": 8, "latent_n_channels": 4,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}  # fmt: skip
VERDICT = Verdict(
    0, Decision.BLOCKED, "violence", {"violence": 2.0}, {"violence": float("inf")},
    (Action("push", 0, 1, 0.5, "violence", float("nan"), 1.0, "a dagger"),),
    reason=Reason("violence", "a dagger", 2.0, 1.0, 3, 0.5), prompt=PromptScore("violence", "a dagger", 1.0, 2.0),
)  # fmt: skip
AUDIT = {"verdict": VERDICT.to_dict(), "policy": {"name": "safe", "hash": "ab"}, "prompt": "a \udcff"}
DECIDED = vars(ReviewDecision("2026-11-30", "ab", "uphold", "violence", "me"))
FINDING = {"file": "x\udcff.png", "row": 0, "decision": "allowed", "made_by": "me", "scores": {"violence": 1.0}}
CLASSES = {"classes": {"n01": "a cat", "n02": "a dog"}, "templates": ["a photo of a {}."]}
PROMPT_SET = {
    "name": "a", "category": "violence", "description": "b", "version": 1, "licence": "MIT",
    "templates": ["{}"], "prompts": ["a dagger"], "benign_prompts": ["a fork"],
}  # fmt: skip
PROMPTS = [{"prompt": "a cat", "categories": ["violence"], "evaluation_seed": 3, "hard": True}, "a dog"]
GENEVAL = {"tag": "colors", "include": [{"class": "cat"}], "prompt": "a cat"}
PIPELINE = {"unet": ["diffusers", "UNet2DConditionModel"], "layers_per_block": [1, 2], "num_train_timesteps": 1000}
MODULAR_PIPELINE = {
    "_class_name": "ZImageModularPipeline",
    "vae": ["diffusers", "AutoencoderKL", {"subfolder": "vae", "revision": None}],
}  # fmt: skip
MANIFEST = {"samples": 2, "offsets": [512, 2048], "bad": [{"key": "\udcff", "row": 1, "reason": "bad"}],
            "shapes": [[2, 4, 8, 8]]}  # fmt: skip


POLICY = {
    "description": "a", "checks": {"every": 2, "clear_margin": 4}, "prompt": {"trigger": 1},
    "defaults": {"measures": ["flag", "steer", "resample", "block"], "trigger": 1, "abort_margin": 6, "strength": 3,
                 "window": [0.9, 0.4], "retries": 2, "budget": 1.5},
    "categories": {"sexual": {"measures": ["flag", "block"], "trigger": -1}},
}  # fmt: skip

FITTED = {
    "pipeline": "a/b", "pipeline_class": "A", "identity": "a--b", "scheduler": "S", "scheduler_config": {"a": [1, 2]},
    "steps": 2, "arguments": {"guidance_scale": 1.5}, "window": [0.9, 0.4],
}  # fmt: skip


def _small_bank(folder: Path) -> None:
    concepts = (Concept("a dagger", "violence"), Concept("blood", "shocking"))
    calibration = ConceptBank.load(bundle_folder() / "bank").calibration
    bank = ConceptBank(
        concepts, torch.eye(3)[:2], ("a fork",), torch.eye(3)[2:], "ab", 9.0, torch.zeros(1), torch.zeros(2, 1)
    )
    replace(bank, calibration=calibration).save(folder)


with TemporaryDirectory() as _saved:
    _small_bank(Path(_saved))
    BANK = json.loads((Path(_saved) / "bank.json").read_text())
UNBOUND = {**BANK, "format": 2}  # of the version before, whose words nothing binds
del UNBOUND["sha256"]


TINY = LatentCLIP(
    LatentCLIPConfig(
        8,
        VisionConfig(4, 4, 2, 8, 1, 1),
        TextConfig(8, 514, 8, 1, 1),
        LatentSpace("toy", 4, 8),
        reads_noise_level=False,
    )
)


def _tiny_shards(folder: Path) -> None:
    with ShardWriter(folder, LatentSpace("toy", 4, 8)) as writer:
        writer.add(torch.zeros(1, 4, 2, 2), [["a"]])


def _manifest_beside(folder: Path) -> None:
    (folder / "manifests").mkdir()
    (folder / "manifests/part-00000-00000.json").write_text(json.dumps(MANIFEST))
    (folder / "part-00000-00000.tar").write_bytes(bytes(4096))


def _run(folder: Path) -> None:
    report_run.build(folder / "run", images=8)


def _report(folder: Path) -> object:
    run = read_run(folder / "run")
    sections = (*best_method_sections(run), *sections_of(run), *i2p_sections(run))
    return markdown_page(run, sections)


def _two_runs(folder: Path) -> None:
    for name in ("run", "other"):
        report_run.build(folder / name, images=8)


def _begun(folder: Path) -> None:
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC.to_dict(), sort_keys=False, allow_unicode=True))


def _plan_end(folder: Path) -> object:
    (folder / "encode.json").unlink(missing_ok=True)
    plan = Plan.open(folder, SETTINGS)
    return plan.count(), plan.first_open(MagicMock(index=0, count=1), 0)


def _bench_pipeline(folder: Path) -> None:
    (folder / "vae").mkdir()
    (folder / "unet").mkdir()
    (folder / "vae/config.json").write_text(json.dumps({"block_out_channels": [8, 8]}))


def _classifier(folder: Path) -> None:
    (folder / "model.safetensors").symlink_to(bundle_folder() / "judge" / "model.safetensors")


BEST_METHOD = {
    "method": "guard", "min_utility": 0.9, "unsafe": 0.1, "utility": 0.95, "against": [{"method": "a", "unsafe": 0.2,
    "utility": 0.9, "difference": {"value": 0.1, "low": 0.0, "high": 0.2}, "significant": True, "keeps_utility": True,
    "times_its_seconds": 1.2}],
}  # fmt: skip
FIGURE = {"value": 0.4, "low": 0.3, "high": 0.5, "count": 60}
SUMMARY = {
    "methods": {"guard": {"risky": {"unsafe": FIGURE, "seconds": 1.0}}},
    "comparisons": [{"metric": "unsafe", "first": "a", "second": "b", "difference": FIGURE, "significant": True}],
    "curves": {"guard": [{"strength": 1, "unsafe": 0.4, "utility": 0.9}]},
    "calibration": [{"method": "guard", "probability": 0.1, "frequency": 0.2, "count": 9}],
    "precision_recall": [{"category": "violence", "step": 1, "precision": 0.9, "recall": 0.8}],
    "command": "latent-guard bench run",
    "best_method": BEST_METHOD,
    "i2p": {
        "tasks": {"i2p": {"mode": "paper", "split": "all", "images_a_prompt": 1, "guidance_scale": 7.5, "methods": {
            "guard": {"inappropriate": {"all": FIGURE}, "expected_maximum": {
                "monte_carlo": {"mean": 0.5, "std": 0.1}, "closed_form": {"mean": 0.5, "std": 0.1}}}}}},
        "published": [{"name": "SD", "source": "s", "url": "u", "metric": "m", "value": 0.4, "measured_on": "o",
                       "spread": 0.1}],
    },
    "out_of_domain": "few",
}  # fmt: skip

CHOICE = json.loads(json.dumps(Choice(SAFE, (Trial(3.0, 0.4, 4, 1.0, 3, -2.0, 12, 0.5, 0.1, 0.1),)).to_dict()))
_SHARE = Share(1, 4, 0.1, 0.6)
_VERIFIED = Verification(*[_SHARE] * 8, (0.9, 0.0), (0.9, 1.0), 0.01, (4.0, 5.0, 4.0), "the judge", "pushes")
VERIFIED = json.loads(json.dumps(_VERIFIED.to_dict()))
FIT = json.loads(json.dumps(asdict(FitSettings("mine"))))


def _one_shard(folder: Path) -> None:
    save_file({"latents": torch.zeros(1, 1, 4, 8, 8), "noise_levels": torch.zeros(1)}, folder / "000000.safetensors")


READERS = [
    Reader("training/recipe.py", "recipe.yaml", RECIPE, lambda f: Recipe.read(f / "recipe.yaml")),
    Reader("concepts/prompt_set.py", "set.yaml", PROMPT_SET, lambda f: PromptSet.read(f / "set.yaml")),
    Reader("zero_shot/class_set.py", "classes.yaml", CLASSES, lambda f: read_class_set(f / "classes.yaml")),
    Reader("bench/spec_file.py", "spec.yaml", SPEC.to_dict(), lambda f: read_spec(f / "spec.yaml")),
    Reader("bench/prompts/files.py", "list.yaml", PROMPTS, lambda f: read_prompt_file(f / "list.yaml")),
    Reader("bench/prompts/files.py", "list.jsonl", PROMPTS[0], lambda f: read_prompt_file(f / "list.jsonl"),
           allows=("a text",)),
    Reader("bench/prompts/geneval.py", "geneval.jsonl", GENEVAL, lambda f: read_geneval(f / "geneval.jsonl")),
    Reader("latent_clip/model_files.py", "config.json", PRESETS["latent-vit-b-8"].to_dict(), read_config),
    Reader("latent_clip/official_config.py", "c.json", OFFICIAL, lambda f: read_official_config(f / "c.json")),
    Reader(
        "training/data/shards.py", "index.json",
        {"format": 1, "latent_space": LatentSpace("toy", 4, 8).to_dict(),
         "shards": [{"file": "shard-00000.safetensors", "samples": 1}]},
        lambda f: read_shards([f]), _tiny_shards,
    ),
    Reader(
        "training/data/in_memory.py", "shard-00000.jsonl", {"captions": ["a"]},
        lambda f: read_shards([f]), _tiny_shards,
    ),
    Reader("training/data/in_memory.py", "latent_space.json", PUBLISHED["SDXL"].to_dict(), _read_space),
    Reader(
        "training/data/shards.py", "index.json",
        {"format": 1, "latent_space": LatentSpace("toy", 4, 8).to_dict(), "dtype": "float16",
         "tokenizer": {"vocab_size": 9, "context_length": 4},
         "shards": [{"file": "part-00000-00000.tar", "samples": 2}]},
        lambda f: MappedShards([f]), _manifest_beside,
    ),
    Reader(
        "training/data/tar_shards.py", "manifests/part-00000-00000.json", MANIFEST,
        lambda f: Manifest.read(f / "part-00000-00000.tar"), lambda f: (f / "manifests").mkdir(),
    ),
    Reader("training/encoding/plan.py", "encode.json", vars(SETTINGS), lambda f: Plan.open(f, SETTINGS)),
    Reader(
        "training/encoding/plan.py", "manifests/end-00000.json", {"chunks": 1}, _plan_end,
        lambda f: (f / "manifests").mkdir(), forgives=True,
    ),
    Reader(
        "training/checkpoint.py", "training.json", {"recipe": RECIPE, "fingerprint": TINY.fingerprint()},
        lambda f: load_finished(f, Recipe.from_dict(RECIPE)), TINY.save_pretrained,
    ),
    Reader("report/run_folder.py", "run/summary.json", SUMMARY, _report, _run, allows=("a lone surrogate",)),
    Reader("report/run_folder.py", "run/environment.json", ENVIRONMENT, _report, _run, allows=("a lone surrogate",)),
    Reader(
        "report/run_comparison.py", "run/spec.yaml", SPEC.to_dict(),
        lambda f: list(_of_tasks(read_runs([f / "run", f / "other"]))), _two_runs,
        allows=("NUL", "null", "empty", "a date"),
    ),
    Reader("bench/runs/merge.py", "environment.json", ENVIRONMENT, lambda f: Shard.read(f, SPEC), _begun),
    Reader(
        "bench/runs/identity.py", "environment.json", ENVIRONMENT,
        lambda f: RunFolder.open(f, SPEC, {**ENVIRONMENT}), _begun,
    ),
    Reader(
        "bench/result_table.py", "rows.json", {"key": {}, "rows": {"a": [vars(Row("w", "r", "m", 3, None))]}},
        lambda f: RowStore(f / "rows.json", {}).get("a"), forgives=True,
    ),
    Reader(
        "bench/runs/cost_estimate.py", "unet/config.json", {"sample_size": 64},
        lambda f: bytes_an_image(Spec("a", SPEC.tasks, SPEC.methods, SPEC.judge, str(f)), None), _bench_pipeline, True,
    ),
    Reader("guidance/audit_entries.py", "audit.jsonl", AUDIT, lambda f: read_audit(f / "audit.jsonl")),
    Reader("guidance/audit_verify.py", "audit.jsonl", AUDIT, lambda f: verify_log([f / "audit.jsonl"]), forgives=True),
    Reader(
        "guidance/verdict.py", "verdict.json", VERDICT.to_dict(),
        lambda f: Verdict.from_json((f / "verdict.json").read_bytes().decode(errors="replace")), of_text=True,
    ),
    Reader(
        "review/withheld.py", "withheld.json", {"verdict": VERDICT.to_dict(), "about": {"prompt": "a \udcff"}},
        lambda f: Details.from_json((f / "withheld.json").read_bytes()), of_text=True,
    ),
    Reader("review/decisions.py", "decisions.jsonl", DECIDED, lambda f: DecisionLog(f).latest(), forgives=True),
    Reader(
        "cli/findings_file.py", "found.jsonl", FINDING,
        lambda f: FindingsFile(f / "found.jsonl", "me", []).decisions(), allows=("empty",),
    ),
    Reader(
        "cli/replacing.py", "run.json", {"package": "latent-guard 1", "num_images_per_prompt": 2},
        _images_of_run, forgives=True,
    ),
    Reader("pipelines/config_limits.py", "model_index.json", PIPELINE, check_parts),
    Reader("pipelines/modular_folder.py", "modular_model_index.json", MODULAR_PIPELINE, component_places),
    Reader("fitted_guards.py", "model_index.json", PIPELINE, lambda f: identity_of(str(f))),
    Reader("files/manifests.py", "manifest.json", {}, lambda f: verify(f, "copy it again")),
    Reader(
        "serving/moderation/category_table.py", "categories.yaml", {"violence": ["violence", "shocking"], "hate": []},
        lambda f: CategoryTable.read(f / "categories.yaml"),
    ),
    Reader(
        "serving/moderation/parts.py", "body.json", {"input": [{"type": "text", "text": "a cat"}]},
        lambda f: moderation_input(read_object((f / "body.json").read_bytes()).get("input")), of_text=True,
    ),
    Reader("guidance/policy_file.py", "policy.yaml", POLICY, lambda f: read_policies(f / "policy.yaml")),
    Reader("guidance/fitted_for.py", "fitted.json", FITTED, FittedFor.load),
    Reader("fitting/record.py", "jobs.json", {"jobs": [asdict(Job("a cat", 1))]}, Recording.open, _one_shard),
    Reader("fitting/pushes.py", "policy.json", CHOICE, lambda f: Choice.load(f / "policy.json")),
    Reader("fitting/verify.py", "verification.json", VERIFIED, lambda f: Verification.load(f / "verification.json")),
    Reader("fitting/settings.py", "settings.json", FIT, FitSettings("mine").claim),
    Reader("concepts/bank_files.py", "bank.json", BANK, ConceptBank.load, _small_bank),
    Reader("concepts/bank_files.py", "bank.json", UNBOUND, ConceptBank.load, _small_bank),
    Reader(
        "worlds/emoji/classifiers.py", "classifier.json",
        json.loads((bundle_folder() / "judge/classifier.json").read_text()), EmojiClassifier.load, _classifier,
    ),
]  # fmt: skip
