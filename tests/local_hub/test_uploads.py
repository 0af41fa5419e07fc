"""What is published, and had back, by the hub's client as it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.local_hub.commands import Shell
from tests.local_hub.repositories import OWNER, STRANGER, Hub, files_of
from tests.local_hub.stand_ins import GUARD, SDXL_TURBO

PUBLISH = f"""
import json
from latent_guard import LatentCLIP
from latent_guard.errors import LatentGuardError
from latent_guard.latent_clip.model_card import TrainingFacts

model = LatentCLIP.from_pretrained({GUARD!r})
facts = TrainingFacts(data="nothing", samples_seen=0, limits="Knows nothing.")
try:
    addresses = [model.push_to_hub("me/published", facts, private=True) for _ in range(2)]
    back = LatentCLIP.from_pretrained("me/published")
    print(json.dumps([addresses, model.fingerprint(), back.fingerprint()]))
except LatentGuardError as error:
    print(error)
"""
PUBLISH_GUARD = f"""
import json
from latent_guard import LatentGuard

def told(guard):
    bank = guard.bank
    return [guard.model.fingerprint(), guard.policies.name, bank.digest, guard.fitted_for.to_dict()]

guard = LatentGuard.from_pretrained({GUARD!r})
guard.push_to_hub("me/published")
print(json.dumps([told(guard), told(LatentGuard.from_pretrained("me/published"))]))
"""


@pytest.mark.slow
def test_a_latent_clip_that_was_published_comes_back_the_same(shell: Shell, hub: Hub) -> None:
    done = replace(shell, token=OWNER).python(PUBLISH)
    assert done.code == 0, done.err
    addresses, published, back = json.loads(done.out)
    assert addresses == [f"{shell.address}/me/published"] * 2
    assert published == back
    held = files_of(hub.root / "me" / "published")
    assert {"README.md", "config.json", "manifest.json", "model.safetensors", "tokenizer/tokenizer.json"} <= set(held)
    assert "me/published" in hub.private


@pytest.mark.slow
def test_a_guard_that_was_published_comes_back_whole(shell: Shell, hub: Hub) -> None:
    done = replace(shell, token=OWNER).python(PUBLISH_GUARD)
    assert done.code == 0, done.err
    published, back = json.loads(done.out)
    assert published == back
    assert (back[1], back[3]["pipeline"]) == ("own", SDXL_TURBO)
    held = files_of(hub.root / "me" / "published")
    assert {"README.md", "policy.yaml", "fitted.json", "canary.safetensors", "manifest.json"} <= set(held)
    command = ("generate", "a cat", "--safe", "--model", SDXL_TURBO, "--guard", "me/published", "--steps", 1)
    done = shell.run(*command)
    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "told"),
    [
        (None, "the hub does not know you, or your token; log in with `hf auth login` or set HF_TOKEN"),
        (STRANGER, "your token may not do this with me/published; take one with that permission, or another owner"),
    ],
)
def test_who_may_not_publish_is_told_so(shell: Shell, hub: Hub, token: str | None, told: str) -> None:
    done = replace(shell, token=token).python(PUBLISH)
    assert done.out.splitlines() == [f"cannot publish me/published: {told}"], done.err
    assert not (hub.root / "me" / "published").exists()
