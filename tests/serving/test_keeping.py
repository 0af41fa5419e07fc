"""Withheld images that are kept for review: what goes out is blurred, and only the review key opens the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from latent_guard.errors import InputError
from latent_guard.guidance import telemetry
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.policy import FLAG, Policies, Policy
from latent_guard.guidance.verdict import Action, ActionKind, Cost, Decision, Verdict
from latent_guard.review.keys import make_keys, read_private_key, read_public_key
from latent_guard.review.store import ReviewStore, paths_in
from latent_guard.review.withheld import opened
from latent_guard.serving.settings import Settings
from latent_guard.serving.withheld import as_blocked
from latent_guard.testing import linear_guard, tiny_pipeline
from tests.serving.running import STEPS, UNSAFE, ask, picture, running

BLOCKING = Policy(steer=False, retries=0)


def test_blurred_images_go_out_and_the_originals_open_with_the_review_key_alone(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    store = ReviewStore(tmp_path / "kept", read_public_key(public))
    log = tmp_path / "audit.jsonl"
    settings = Settings(on_block="blur")
    with running(settings, threshold=UNSAFE, policy=BLOCKING, audit=AuditLog(log), review=store) as service:
        body = ask(service, prompt="a secret prompt", seed=3, n=2).json()
    unguarded = linear_guard(1000).generate(
        tiny_pipeline(), "a secret prompt", seed=3, num_images_per_prompt=2, num_inference_steps=STEPS
    )
    assert [entry["latent_guard"]["withheld"] for entry in body["data"]] == [True, True]
    for number, entry in enumerate(body["data"]):
        shown, original = np.asarray(picture(entry), float), np.asarray(unguarded.images[number], float)
        assert np.abs(np.diff(shown, axis=1)).mean() < np.abs(np.diff(original, axis=1)).mean() / 3
        kept = opened(
            (tmp_path / "kept" / f"{body['latent_guard']['withheld'][number]['review']}.withheld").read_bytes(),
            read_private_key(tmp_path / "key"),
        )
        assert np.abs(np.asarray(kept.picture(), float) - original).max() <= 1
        assert kept.details.about["prompt"] == "a secret prompt"
        assert kept.details.verdict.decision is Decision.BLOCKED
    decisions = [json.loads(line)["verdict"]["decision"] for line in log.read_text().splitlines()]
    assert decisions == ["blocked", "blocked"]
    assert b"secret" not in b"".join(path.read_bytes() for path in paths_in(tmp_path / "kept"))


def test_kept_images_are_left_out_where_nothing_is_to_be_shown(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "kept", read_public_key(make_keys(tmp_path / "key")))
    with running(threshold=UNSAFE, policy=BLOCKING, review=store) as service:
        answered = ask(service, prompt="a")
    assert answered.status_code == 400
    assert answered.json()["error"]["latent_guard"]["withheld"][0]["review"]
    assert len(list(paths_in(tmp_path / "kept"))) == 1


@pytest.mark.parametrize("retries", [1, 3])
def test_images_are_made_again_as_where_nothing_is_kept(tmp_path: Path, retries: int) -> None:
    policy, store = Policy(steer=False, retries=retries), ReviewStore(tmp_path / "kept", _public_key(tmp_path))
    shown, logged = [], []
    for review in (None, store):
        log = tmp_path / f"{bool(review)}.jsonl"
        with running(threshold=-0.02, policy=policy, audit=AuditLog(log), review=review) as service:
            bodies = [ask(service, prompt="a cat", seed=10 * n, n=2).json() for n in range(4)]
        shown.append([entry["b64_json"] for body in bodies for entry in body.get("data", ())])
        verdicts = [json.loads(line)["verdict"] for line in log.read_text().splitlines() if "verdict" in line]
        logged.append([(v["decision"], v["cost"]["retries"], v["scores"]) for v in verdicts])
    assert logged[0] == logged[1]
    assert shown[0] == shown[1]
    assert any(times for _, times, _ in logged[1])
    blocked = [decision for decision, *_ in logged[1]].count("blocked")
    assert len(list(paths_in(tmp_path / "kept"))) == blocked


def test_events_are_of_the_images_of_requests_alone_and_say_that_one_was_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(telemetry.ASKED, "1")
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    store = ReviewStore(tmp_path / "kept", _public_key(tmp_path))
    for review in (None, store):
        with running(threshold=UNSAFE, policy=BLOCKING, review=review) as service:
            assert not exporter.get_finished_spans()
            assert ask(service, prompt="a").status_code == 400
        (span,) = exporter.get_finished_spans()
        (event,) = span.events
        assert (event.attributes or {})[telemetry.NAMES["decision"]] == "blocked"
        exporter.clear()


def _public_key(folder: Path) -> X25519PublicKey:
    return read_public_key(make_keys(folder / "key"))


def test_to_blur_needs_a_place_for_the_originals() -> None:
    with pytest.raises(InputError, match="review key"), running(Settings(on_block="blur")):
        pass


def test_what_a_category_that_blocks_speaks_against_is_withheld_and_what_only_others_flag_is_not() -> None:
    policies = Policies("mixed", Policy(block=False, retries=0, steer=False), {"a": Policy()})
    low, over = {"a": -1.0, "b": 3.0}, {"a": float("nan"), "b": -3.0}
    limits = {"a": 0.0, "b": 0.0}
    exhausted = Action(ActionKind.EXHAUSTED, 0, 1, 0.5, "a", 1.0, 0.0)
    assert as_blocked(Verdict(0, Decision.FLAGGED, "b", low, limits), policies).decision is Decision.FLAGGED
    assert as_blocked(Verdict(0, Decision.FLAGGED, "b", over, limits), policies).decision is Decision.BLOCKED
    tried = Verdict(0, Decision.FLAGGED, "b", low, limits, (exhausted,))
    assert as_blocked(tried, policies).decision is Decision.BLOCKED
    made_again = Verdict(0, Decision.FLAGGED, "b", low, limits, (exhausted,), Cost(retries=1))
    assert as_blocked(made_again, policies).decision is Decision.FLAGGED
    unreadable = Action(ActionKind.UNREADABLE, 0, 1, 0.5, "b", float("nan"), 0.0)
    tried = Verdict(0, Decision.FLAGGED, "b", low, limits, (unreadable,))
    assert as_blocked(tried, policies).decision is Decision.BLOCKED
    assert as_blocked(tried, Policies("flag", FLAG)).decision is Decision.FLAGGED
