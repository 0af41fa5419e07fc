"""Policy files: what they mean, and how a mistake in one is named."""

from __future__ import annotations

import contextlib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latent_guard.errors import InputError
from latent_guard.guidance.check_schedule import EVERY_STEP, CheckSchedule
from latent_guard.guidance.policy import BLOCK, FLAG, PRESETS, SAFE, STEER, Policies
from latent_guard.guidance.policy_file import policy_named, policy_text, read_policies

SHIPPED = ("lenient", "standard", "strict")
WHOLE = """
description: all keys at once
checks: {every: 3, clear_margin: 6.5}
prompt: {trigger: 2}
defaults:
  measures: [flag, steer, resample, block]
  trigger: -1
  abort_margin: 4
  strength: 2.5
  window: [0.9, 0.5]
  retries: 3
  budget: 1.5
categories:
  sexual: {measures: [flag, block], abort_margin: null}
  violence: {strength: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.yaml"


def test_every_key_means_what_it_says(file: Path) -> None:
    file.write_text(WHOLE)
    policies = read_policies(file)
    default = replace(
        SAFE, trigger=-1.0, abort_margin=4.0, strength=2.5, window=(0.9, 0.5), retries=3, budget=1.5
    )  # fmt: skip
    assert (policies.name, policies["nonesuch"]) == ("own", default)
    assert policies["sexual"] == replace(default, steer=False, retries=0, abort_margin=None)
    assert policies["violence"] == replace(default, strength=1.0)
    assert (policies.check_schedule, policies.prompt_trigger) == (CheckSchedule(3, 6.5), 2.0)


@pytest.mark.parametrize(
    ("measures", "policy"),
    [
        ("[flag, steer, resample, block]", SAFE),
        ("[flag, steer]", STEER),
        ("[flag, block], abort_margin: 1.5", BLOCK),
        ("[block], abort_margin: 1.5", BLOCK),
        ("[flag]", FLAG),
    ],
)
def test_measures_are_those_of_the_named_policies(file: Path, measures: str, policy: object) -> None:
    file.write_text(f"defaults: {{measures: {measures}}}")
    assert read_policies(file)["any"] == policy


def test_a_file_that_says_nothing_else_is_the_safe_policy(file: Path) -> None:
    file.write_text("description: as ever")
    policies = read_policies(file)
    assert replace(policies, name="safe") == Policies.of(SAFE)
    assert (policies.digest, policies.check_schedule, policies.prompt_trigger) == (
        PRESETS["safe"].digest,
        EVERY_STEP,
        None,
    )


def test_a_hash_rests_on_fixed_keys_and_names_all_that_a_policy_does() -> None:
    digests = {name: policy_named(name).digest for name in ("safe", "block", "strict")}
    assert digests == {"safe": "8d36dcc2f8f25041", "block": "08016e87cebd64a5", "strict": "61b6cddacc107750"}
    for field in fields(SAFE):  # a field that is added must be hashed too
        value = getattr(SAFE, field.name)
        others = {"window": (0.9, 0.5), "retry_trigger": -1.0}
        other = others[field.name] if field.name in others else not value if value is True else (value or 0) + 1
        changed = Policies("safe", replace(SAFE, **{field.name: other}))
        assert changed.digest != PRESETS["safe"].digest, field.name
    for changed in (
        replace(PRESETS["safe"], check_schedule=CheckSchedule(2)),
        replace(PRESETS["safe"], check_schedule=CheckSchedule(1, 3.0)),
        replace(PRESETS["safe"], prompt_trigger=1.0),
        replace(PRESETS["safe"], exceptions={"violence": SAFE}),
        replace(PRESETS["safe"], on_mismatch="refuse"),
    ):
        assert changed.digest != PRESETS["safe"].digest


def test_the_hash_names_what_a_policy_does(file: Path) -> None:
    digests = []
    for trigger in (0, 1):
        file.write_text(f"defaults: {{trigger: {trigger}}}")
        digests.append(read_policies(file).digest)
    assert digests[0] == PRESETS["safe"].digest != digests[1]
    assert len({preset.digest for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "must be a mapping"),
        ("- flag", "must be a mapping"),
        ("defaults: [", "not valid YAML"),
        ("default: {}", "unknown key 'default'; the keys are description"),
        ("description: 3", "description"),
        ("defaults: {measure: [flag]}", "defaults: unknown key 'measure'"),
        ("defaults: {measures: [hope]}", "defaults.measures must be a list of flag, steer"),
        ("defaults: {measures: []}", "defaults.measures"),
        ("defaults: {measures: [block, flag]}", "defaults.measures must be in the order"),
        ("defaults: {measures: [flag, flag]}", "each once"),
        ("defaults: {trigger: high}", "defaults.trigger must be a number"),
        ("defaults: {trigger: .nan}", "defaults.trigger"),
        ("defaults: {trigger: true}", "defaults.trigger"),
        ("defaults: {abort_margin: -1}", "defaults.abort_margin must be a number from 0"),
        ("defaults: {strength: .inf}", "defaults.strength"),
        ("defaults: {window: [0.4, 0.9]}", "defaults.window must be [high, low]"),
        ("defaults: {window: 0.4}", "defaults.window must be two noise levels"),
        ("defaults: {retries: 0}", "defaults.retries"),
        ("defaults: {measures: [flag], retries: 2}", "add resample"),
        ("{defaults: {measures: [flag]}, categories: {a: {retries: 2}}}", "categories.a.retries"),
        ("defaults: {budget: 1e99}", "defaults.budget"),
        ("categories: [violence]", "categories must be a mapping"),
        ("categories: {1: {}}", "unknown key 1; quote it"),
        ("categories: {violence: block}", "categories.violence must be a mapping"),
        ("categories: {violence: {}, violence: {}}", "'violence' is there twice"),
        ("checks: {every: 0}", "checks.every must be a whole number from 1 to"),
        ("checks: {clear_margin: near}", "checks.clear_margin"),
        ("checks: {steps: 3}", "checks: unknown key 'steps'"),
        ("on_mismatch: shrug", "on_mismatch must be warn or refuse, not 'shrug'"),
        ("defaults: {max_pushes: 1.5}", "defaults.max_pushes must be a whole number"),
        ("prompt: {threshold: 3}", "prompt: unknown key 'threshold'"),
        ("? [a, b]\n: c", "not valid YAML"),
        ("defaults: {trigger: 1000000}", "defaults.trigger must be a number from -100 to 100"),
        ("prompt: {trigger: 1e30}", "prompt.trigger must be a number from -100 to 100"),
        ("defaults: {strength: 1000}", "defaults.strength must be a number from 0 to 100"),
        ("defaults: {abort_margin: 1e6}", "defaults.abort_margin must be a number from 0 to 100"),
        ("defaults: {retries: 1000}", "defaults.retries must be a whole number from 1 to 100"),
        ("checks: {every: 9999999}", "checks.every must be a whole number from 1 to 1,000"),
    ],
)
def test_a_mistake_is_named_by_file_key_and_mend(file: Path, content: str, named: str) -> None:
    file.write_text(content)
    with pytest.raises(InputError) as raised:
        read_policies(file)
    assert str(raised.value).startswith(str(file))
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


@given(content=st.text(max_size=60) | st.binary(max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_whatever_raises_anything_else(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    with contextlib.suppress(InputError):
        assert isinstance(read_policies(file), Policies)


@pytest.mark.parametrize("name", [*PRESETS, *SHIPPED, "whole", "by category"])
def test_what_is_written_is_read_again(file: Path, name: str) -> None:
    if name == "whole":
        file.write_text(WHOLE + "on_mismatch: refuse\n")
        policies = read_policies(file)
    elif name == "by category":
        own = {"a": SAFE, "b": FLAG, "c": replace(BLOCK, max_pushes=0), "d": replace(SAFE, retries=1, budget=2.0)}
        policies = Policies("any", STEER, own)
    else:
        policies = policy_named(name)
    file.write_text(policy_text(policies))
    again = read_policies(file)
    assert replace(again, name=policies.name) == policies
    assert again.digest == policies.digest


def test_names_and_files_are_told_apart(file: Path) -> None:
    file.write_text("defaults: {measures: [flag]}")
    assert policy_named(str(file)).name == "own"
    assert policy_named("steer") == PRESETS["steer"]
    with pytest.raises(InputError, match=r"unknown policy 'hope'; choose one of safe, .*strict, or name a policy file"):
        policy_named("hope")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_serves_every_bank(name: str) -> None:
    policies = policy_named(name)
    assert policies.name == name
    policies.require_known(())


def test_the_shipped_policies_differ_in_what_they_block() -> None:
    lenient, standard, strict = (policy_named(name) for name in SHIPPED)
    assert not lenient.default.block
    assert standard.default.block
    assert strict.default.block
    assert lenient.default.trigger > standard.default.trigger > strict.default.trigger
