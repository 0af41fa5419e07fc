"""The JSON Schemas that ship, against lines that guards wrote, and against the fields of the classes."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource

from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import BLOCK, FLAG, SAFE, Policies
from latent_guard.guidance.verdict import GATES, Action, ActionKind, Cost, Decision, PromptScore, Reason, Verdict
from latent_guard.testing import BrokenLatentCLIP, linear_bank, linear_guard, tiny_pipeline
from tests.pipelines.tiny import generators

QUICK: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
KEY = b"a key of twenty bytes"
NAMES = ("verdict", "audit_line")


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        files("latent_guard.guidance").joinpath("schemas").joinpath(f"{name}.json").read_text(encoding="utf-8")
    )
    return found


REGISTRY: Registry[Any] = Registry().with_resources(
    [(schema(name)["$id"], Resource.from_contents(schema(name))) for name in NAMES]
)
VERDICT, LINE = (Draft202012Validator(schema(name), registry=REGISTRY) for name in NAMES)
ODD = Verdict(
    3, Decision.BLOCKED, "violence", {"violence": math.nan, "ä": -math.inf}, {"violence": math.inf, "ä": 1.0},
    (Action(ActionKind.UNREADABLE, 1, 2, 0.5, "violence", math.nan, 1.0, "a dagger", frame=4),),
    Cost(10, 8, 1, 1, 0.5), 3, Reason("violence", "a dagger", math.inf, 1.0, 2, 0.5, frame=4),
    PromptScore("violence", "a dagger", math.nan, 1.0), "decode",
)  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def test_every_line_that_a_guard_writes_is_of_the_schema(tmp_path: Path) -> None:
    path, pipe = tmp_path / "log", tiny_pipeline()
    for log, policy in (
        (AuditLog(path), BLOCK),
        (AuditLog(path, prompts=True), FLAG),
        (AuditLog(path, key=KEY), SAFE),
    ):
        linear_guard(-1e3, policy, audit=log).generate(pipe, "a cat", seed=1, **QUICK)
    broken = linear_guard(0.0, model=BrokenLatentCLIP(error=ValueError("out of order")), audit=AuditLog(path, key=KEY))
    with broken.attach(pipe, on_error="open"):
        pipe("a cat", generator=generators(1), **QUICK)
    AuditLog(path, key=KEY).write([ODD], None, Policies.of(FLAG), linear_bank(0.0))
    path.write_bytes(path.read_bytes()[:-9])
    AuditLog(path, key=KEY).write([ODD], None, Policies.of(FLAG), linear_bank(0.0))
    read = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert {line["verdict"]["decision"] for line in read if "verdict" in line} >= {"blocked", "flagged", "unchecked"}
    assert [line["on_error"] for line in read if "verdict" in line].count("open") == 1
    assert sum("gap" in line for line in read) == 1
    for line in read:
        LINE.validate(line)


@pytest.mark.parametrize("gate", [*GATES, "final"])
def test_every_verdict_is_of_the_schema_and_comes_back(gate: Any) -> None:
    verdict = Verdict(0, Decision.ALLOWED, None, {}, {}, gate=gate)
    for one in (verdict, ODD):
        VERDICT.validate(json.loads(one.to_json()))
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_line_of_before_is_still_read() -> None:
    old = json.loads(ODD.to_json())
    for name in ("gate", "prompt", "reason"):
        del old[name]
    assert Verdict.from_dict(old).gate == "both"


@pytest.mark.parametrize(
    ("kind", "where"),
    [(Verdict, ()), (Action, ("$defs", "action")), (Cost, ("$defs", "cost")), (Reason, ("$defs", "reason")),
     (PromptScore, ("$defs", "prompt"))],
)  # fmt: skip
def test_the_schema_has_the_fields_of_the_classes_and_no_others(kind: Any, where: tuple[str, ...]) -> None:
    part = schema("verdict")
    for name in where:
        part = part[name]
    names = {field.name for field in fields(kind)}
    assert (set(part["properties"]), set(part["required"])) == (names, names)


@pytest.mark.parametrize(
    "change",
    [
        {"new": 1}, {"sequence": 0}, {"previous": "ab"}, {"on_error": "maybe"}, {"hmac": "0" * 64}, {"time": "today"},
        {"prompt": "a cat", "prompt_sha256": "0" * 64}, {"gap": {"bytes": 1, "sha256": "0" * 64}}, {"verdict": {}},
    ],
)  # fmt: skip
def test_a_line_with_anything_else_is_not(tmp_path: Path, change: dict[str, Any]) -> None:
    log = AuditLog(tmp_path / "log")
    log.write([ODD], None, Policies.of(FLAG), linear_bank(0.0))
    (line,) = lines(log.path)
    LINE.validate(line)
    with pytest.raises(ValidationError):
        LINE.validate({**line, **change})
