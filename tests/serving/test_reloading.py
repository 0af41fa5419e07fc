"""Another bank or policy while a service runs: whole or not at all."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from latent_guard import shipped
from latent_guard.conformance.known import linear_bank
from latent_guard.serving.app import create_app
from latent_guard.serving.reloading import Reloading
from latent_guard.serving.service import Service
from latent_guard.serving.settings import Settings
from tests.serving.running import PATH, UNSAFE, ask, get, running

TOKEN = "the-admin-token"


def _reload(service: Service, body: dict[str, Any], folder: Path | None = None) -> httpx.Response:
    import asyncio

    async def run() -> httpx.Response:
        app = create_app(service, Reloading(service, folder))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
            return await client.post("/admin/reload", content=json.dumps(body))

    return asyncio.run(run())


_WRONG: tuple[dict[str, Any], ...] = (
    {"category": "cats"},
    {"prompts": ["a"]},
    {"category": "a", "prompts": [3]},
    {"policy": "flag"},
    {"bank": "\0"},
    {"bank": "\ud800"},
    {"category": "\ud800", "prompts": ["a"]},
    {"category": "b", "prompts": ["\0"]},
)


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_put_into_the_watched_folder_is_in_force_soon_and_what_is_bad_changes_nothing(tmp_path: Path) -> None:
    with running(Settings(admin_token=TOKEN)) as service:
        reloading = Reloading(service, tmp_path)
        reloading.watch()
        assert ask(service, prompt="a").status_code == 200
        linear_bank(UNSAFE).save(tmp_path / "bank")
        _until(lambda: service.guard.bank.digest == linear_bank(UNSAFE).digest)
        assert ask(service, prompt="a").status_code == 400
        (tmp_path / "policy.yaml").write_text("defaults: {measures: [flag]}\n")
        _until(lambda: service.guard.policies.name == "own")
        assert ask(service, prompt="a").status_code == 200
        (tmp_path / "policy.yaml").write_text("defaults: {measures: [nonsense]}\n")
        (tmp_path / "bank" / "bank.json").write_text("{}")
        time.sleep(3)
        assert service.guard.policies.name == "own"
        assert service.guard.bank.digest == linear_bank(UNSAFE).digest
        reloading.stop()


def test_a_bad_bank_is_refused_with_the_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    linear_bank(UNSAFE).save(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    (tmp_path / "bad" / "bank.safetensors").write_bytes(b"no tensors")
    with running(Settings(admin_token=TOKEN)) as service:
        before = service.guard.bank.digest
        for name in ("bad", "nowhere", "..", "/etc", "a" * 5000):
            answered = _reload(service, {"bank": name}, tmp_path)
            assert (answered.status_code, answered.json()["error"]["code"]) == (400, "not_reloaded"), name
        for body in _WRONG:
            assert _reload(service, body, tmp_path).status_code == 400
        assert _reload(service, {}).status_code == 400  # no folder is watched
        assert service.guard.bank.digest == before
        assert 'latent_guard_reloads_total{outcome="done"}' not in get(service, "/metrics").text
        answered = _reload(service, {"bank": "good"}, tmp_path)
        assert answered.status_code == 200
        assert answered.json()["bank"]["digest"] == linear_bank(UNSAFE).digest == service.guard.bank.digest


def test_a_guard_that_fails_on_the_warm_up_image_is_not_put_in_force() -> None:
    with running(Settings(admin_token=TOKEN), policy="flag") as service:
        before = service.guard
        assert service.in_force.together > 1
        broken = linear_bank(UNSAFE)
        object.__setattr__(broken, "thresholds", broken.thresholds * float("nan"))
        from latent_guard.serving.reloading import _other

        shape = service._generation.shape
        fixed = shape.images, [part.rows for part in (*shape._denoising, *shape._others)]
        with pytest.raises(Exception, match="threshold"):
            service.replace_guard(_other(before, bank=broken)).result(30)
        assert service.guard is before
        assert (shape.images, [part.rows for part in (*shape._denoising, *shape._others)]) == fixed
        assert ask(service, prompt="a").status_code == 200


def test_a_request_in_flight_is_judged_by_the_guard_that_it_began_with() -> None:
    with running(Settings(admin_token=TOKEN)) as service:
        in_step, go_on = threading.Event(), threading.Event()

        def wait(*_: object) -> None:
            in_step.set()
            go_on.wait(20)

        handle = service.pipe.unet.register_forward_pre_hook(wait)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(ask(service, prompt="a")))
        asking.start()
        assert in_step.wait(20)
        from latent_guard.serving.reloading import _other

        swapped = service.replace_guard(_other(service.guard, bank=linear_bank(UNSAFE)))
        handle.remove()
        go_on.set()
        asking.join(20)
        swapped.result(20)
        assert answers[0].status_code == 200
        assert ask(service, prompt="a").status_code == 400


@pytest.mark.slow
def test_a_new_concept_in_words_is_live_in_under_ten_seconds() -> None:
    settings = Settings(admin_token=TOKEN, max_batch=1)
    service = Service(shipped.pipeline(), shipped.guard("block"), settings, shipped.ARGUMENTS, "shipped")
    service.start().result(120)
    assert ask(service, PATH, prompt="a pizza", seed=0).status_code == 200
    began = time.monotonic()
    answered = _reload(service, {"category": "food", "prompts": ["a pizza", "pizza"]})
    assert answered.status_code == 200
    assert "food" in answered.json()["bank"]["categories"]
    assert time.monotonic() - began < 10
    refused = ask(service, prompt="a pizza", seed=0)
    assert refused.json()["error"]["moderation_details"]["categories"] == ["food"]
    assert ask(service, prompt="a cat", seed=0).status_code == 200
    service.stop()
