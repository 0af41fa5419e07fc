"""What is published, and had back, by the hub's client as it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.local_hub.commands import Shell
from tests.local_hub.repositories import OWNER, STRANGER, Hub, files_of
from tests.local_hub.stand_ins import GUARD

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
