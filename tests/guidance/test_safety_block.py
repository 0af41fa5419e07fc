"""The guard as a citizen of other people's pipelines: a block of a modular one, and a safety checker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from latent_guard import SafetyBlock, SafetyChecker
from latent_guard.conformance.harness import ALWAYS, NEVER, decoded_by, known_guard
from latent_guard.conformance.known import KnownLatentCLIP
from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import BLOCK, FLAG
from latent_guard.guidance.verdict import Decision
from latent_guard.latent_clip.latent_space import LatentSpace
from tests.pipelines.families import cosmos
from tests.pipelines.families.modular import FAMILIES
from tests.pipelines.families.modular_video import FAMILIES as VIDEOS
from tests.pipelines.families.tiny import Tiny

NAMES = ("Flux2KleinModularPipeline", "ZImageModularPipeline", "StableDiffusion3ModularPipeline", "WanModularPipeline")
KINDS = [tiny for tiny in (*FAMILIES, *VIDEOS) if tiny.name in NAMES]


def with_block(kind: Tiny, block: SafetyBlock, before: str = "decode") -> Any:
    own = kind.pipeline()
    blocks = own.blocks
    blocks.sub_blocks.insert("safety", block, list(blocks.sub_blocks).index(before))
    pipe = blocks.init_pipeline()
    pipe.update_components(**{name: part for name, part in own.components.items() if name in pipe.component_names})
    return pipe


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_block_judges_what_is_about_to_be_decoded_and_masks_what_is_unsafe(kind: Tiny) -> None:
    plain = kind.call(kind.pipeline())
    critic = KnownLatentCLIP(LatentSpace.of_vae(kind.pipeline().vae))
    pipe = with_block(kind, SafetyBlock(known_guard(kind.pipeline(), NEVER, BLOCK, critic)))
    with decoded_by(pipe) as given:
        state = kind.call(pipe, output=None)
    assert np.array_equal(kind.call(pipe), plain)
    assert [verdict.decision for verdict in state.get("verdicts")] == [Decision.ALLOWED] * len(plain)
    scores = [verdict.scores["violence"] for verdict in state.get("verdicts")]
    per_item = critic.score(torch.cat(given)).unflatten(0, (len(plain), -1)).amax(dim=1)
    assert torch.allclose(torch.tensor(scores), per_item, rtol=1e-4, atol=1e-4)

    between = sum(sorted(scores)[-2:]) / 2
    pipe = with_block(kind, SafetyBlock(known_guard(pipe, between, BLOCK)))
    state, worst = kind.call(pipe, output=None), int(np.argmax(scores))
    images = kind.call(pipe)
    assert [v.decision is Decision.BLOCKED for v in state.get("verdicts")] == [n == worst for n in range(len(plain))]
    assert [np.array_equal(images[n], plain[n]) for n in range(len(plain))] == [n != worst for n in range(len(plain))]


def test_a_block_in_the_wrong_place_or_with_a_broken_guard_ends_the_call() -> None:
    kind = KINDS[0]
    with pytest.raises(InputError, match="after the denoising loop"):
        kind.call(with_block(kind, SafetyBlock(known_guard(kind.pipeline(), NEVER, FLAG)), before="denoise"))
    broken = KnownLatentCLIP(LatentSpace.of_vae(kind.pipeline().vae), ValueError("out of order"))
    with pytest.raises(GuardError, match="out of order"):
        kind.call(with_block(kind, SafetyBlock(known_guard(kind.pipeline(), NEVER, FLAG, broken))))


COSMOS = next(tiny for tiny in cosmos.FAMILIES if tiny.name == "Cosmos2TextToImagePipeline")


def test_a_guard_takes_the_place_of_cosmos_safety_checker() -> None:
    pipe = COSMOS.pipeline()
    plain = COSMOS.call(pipe)
    pipe.safety_checker = checker = SafetyChecker(known_guard(pipe, NEVER, BLOCK), pipe.vae)
    assert np.allclose(COSMOS.call(pipe), plain, atol=1 / 127)
    assert [verdict.decision for verdict in checker.verdicts] == [Decision.ALLOWED] * len(plain)
    pipe.safety_checker = checker = SafetyChecker(known_guard(pipe, ALWAYS, BLOCK), pipe.vae)
    assert np.ptp(COSMOS.call(pipe)) == 0
    assert {verdict.decision for verdict in checker.verdicts} == {Decision.BLOCKED}
    checker.verdicts.clear()
    COSMOS.call(pipe, output_type="latent")
    assert checker.verdicts == [], "docs/faults.md says that nobody asks it about latents"


def test_verdicts_of_both_are_written_to_the_guards_audit_log_before_anything_is_handed_out(tmp_path: Path) -> None:
    kind, log = KINDS[0], AuditLog(tmp_path / "audit.jsonl")
    guard = known_guard(kind.pipeline(), ALWAYS, BLOCK)
    guard.audit = log
    verdicts = kind.call(with_block(kind, SafetyBlock(guard)), output=None).get("verdicts")
    own = COSMOS.pipeline()
    checking = known_guard(own, NEVER, BLOCK)
    checking.audit = log
    checker = SafetyChecker(checking, own.vae)
    frames = np.zeros((9, 32, 32, 3), dtype=np.uint8)
    checker.check_video_safety(frames)
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == [v.to_dict() for v in (*verdicts, *checker.verdicts)]
    assert {line["verdict"]["gate"] for line in lines} == {"final"}
    checking.audit = AuditLog(Path("/dev/full"))
    unwritten = SafetyChecker(checking, own.vae)
    with pytest.raises(GuardError, match="audit log"):
        unwritten.check_video_safety(frames)
    assert unwritten.verdicts == []


def test_diffusers_own_trio_takes_it() -> None:
    pipe = diffusers.Cosmos3OmniModularPipeline()
    assert pipe.requires_safety_checker
    own = COSMOS.pipeline()
    checker = SafetyChecker(known_guard(own, NEVER, FLAG), own.vae)
    pipe.enable_safety_checker(checker)
    assert pipe.safety_checker is checker
    frames = np.zeros((9, 32, 32, 3), dtype=np.uint8)
    assert pipe.safety_checker.to("cpu").check_video_safety(frames) is frames
    assert pipe.safety_checker.check_text_safety("a cat")
    pipe.disable_safety_checker()
    assert not pipe.requires_safety_checker
