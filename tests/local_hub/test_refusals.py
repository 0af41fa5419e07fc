"""What the hub does not give: one line that names the mend, code 2, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.local_hub.commands import Finished, Shell
from tests.local_hub.repositories import OWNER, STRANGER, Hub
from tests.local_hub.stand_ins import FLUX, GUARD, PICTURES, SDXL_TURBO, SDXL_VAE, SMALL_PUBLISHED

GENERATE = ("generate", "a cat", "--safe", "--model", SDXL_TURBO, "--guard", GUARD, "--steps", "1", "--out", "out")
NOWHERE = "http://127.0.0.1:9"  # the port that discards
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def assert_refused(finished: Finished, shell: Shell, *told: str) -> None:
    """The last line says all; others are what the hub's client says of its own accord."""
    assert (finished.code, finished.out) == (2, ""), finished
    *others, last = finished.err.strip().splitlines()
    assert last.startswith("error: ")
    for text in told:
        assert text in last
    assert "Traceback" not in finished.err
    assert not [line for line in others if line.startswith("error")]
    assert list(shell.folder.iterdir()) == []


def commands_of(hub_id: str, picture: str) -> list[Sequence[str]]:
    """Each option that takes a model or a data set, with this one."""
    return [
        ("generate", "a cat", "--model", hub_id),
        ("generate", "a cat", "--safe", "--model", SDXL_TURBO, "--guard", hub_id),
        ("check", picture, "--model", hub_id, "--guard", GUARD),
        ("zero-shot", PICTURES, "--model", SDXL_TURBO, "--guard", GUARD, "--pixel-clip", hub_id),
        ("zero-shot", PICTURES, "--model", SDXL_TURBO, "--guard", GUARD, "--pixel-clip", f"hf-hub:{hub_id}"),
        ("zero-shot", hub_id, "--model", SDXL_TURBO, "--guard", GUARD),
        ("fit", hub_id),
        ("fit", SDXL_TURBO, "--latent-clip", hub_id, "--out", "guard"),
        ("fit", SDXL_TURBO, "--latent-clip", GUARD, "--teacher", hub_id, "--out", "guard"),
        ("encode", PICTURES, "shards", "--vae", hub_id),
        ("encode", hub_id, "shards", "--vae", SDXL_VAE),
        ("encode", PICTURES, "shards", "--vae", SDXL_VAE, "--tokenizer", hub_id),
        ("adapt", hub_id, PICTURES, "adapted", "--vae", FLUX),
        ("convert", hub_id, "guard"),
        ("convert", SMALL_PUBLISHED, "guard", "--vae", hub_id),
        ("concepts", "build", hub_id, "--out", "bank"),
        ("bench", "i2p", "--model", hub_id, "--judge", GUARD, "--prompts", "emoji-i2p.csv", "--method", "unguarded"),
        ("bench", "i2p", "--model", SDXL_TURBO, "--judge", hub_id, "--prompts", "emoji-i2p.csv"),
        ("bench", "i2p", "--model", SDXL_TURBO, "--judge", "Falconsai/nsfw_image_detection", "--prompts", hub_id),
    ]


@pytest.mark.slow
def test_what_is_absent_is_named_by_every_command(shell: Shell, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    for finished in shell.run_each(commands_of("no/such", str(tmp_path / "picture.png"))):
        assert_refused(finished, shell, "the hub has no no/such, or hides it; check the spelling", LOG_IN)


@pytest.mark.slow
def test_what_is_gated_says_where_its_terms_are_accepted(shell: Shell, hub: Hub) -> None:
    hub.gated |= {FLUX, GUARD, SDXL_TURBO, PICTURES}
    commands = [
        ("encode", PICTURES, "shards", "--vae", SDXL_VAE),
        ("generate", "a cat", "--model", SDXL_TURBO),
        ("convert", GUARD, "guard"),
        ("convert", SMALL_PUBLISHED, "guard", "--vae", FLUX),
    ]
    refused = (f"datasets/{PICTURES}", SDXL_TURBO, GUARD, FLUX)
    for stranger in (shell, replace(shell, token=STRANGER)):
        for finished, repository in zip(stranger.run_each(commands), refused, strict=True):
            page = f"accept its terms at {shell.address}/{repository}"
            assert_refused(finished, shell, f"{repository.removeprefix('datasets/')} is gated: {page}", LOG_IN)
    (finished,) = replace(shell, token=OWNER).run_each([GENERATE])
    assert finished.code == 0, finished.err


@pytest.mark.slow
def test_what_is_private_does_not_exist_for_strangers(shell: Shell, hub: Hub) -> None:
    hub.private.add(GUARD)
    for stranger in (shell, replace(shell, token=STRANGER)):
        assert_refused(stranger.run(*GENERATE), shell, f"the hub has no {GUARD}, or hides it", LOG_IN)
    old = replace(shell, token="hf_old")
    assert_refused(old.run(*GENERATE), shell, "the hub does not know you, or your token", LOG_IN)
    finished = replace(shell, token=OWNER).run(*GENERATE)
    assert finished.code == 0, finished.err


@pytest.mark.slow
def test_who_is_offline_or_finds_the_hub_down_has_what_was_downloaded_before(shell: Shell, hub: Hub) -> None:
    offline, down = replace(shell, offline=True), replace(shell, address=NOWHERE)
    assert_refused(offline.run(*GENERATE), shell, "HF_HUB_OFFLINE forbids downloads", "unset HF_HUB_OFFLINE")
    assert_refused(down.run(*GENERATE), shell, f"the hub at {NOWHERE} cannot be reached; check the connection")
    hub.status = 503
    assert_refused(shell.run(*GENERATE), shell, "the hub is out of order (status 503); try again later")
    hub.status = None
    for place in (shell, offline, down):
        finished = place.run(*GENERATE)
        assert finished.code == 0, finished.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repository", "file"), [(SDXL_TURBO, "unet/diffusion_pytorch_model.safetensors"), (GUARD, "model.safetensors")]
)
def test_a_download_that_breaks_off_is_taken_up_by_the_same_command(
    shell: Shell, hub: Hub, repository: str, file: str
) -> None:
    hub.cut.add(f"{repository}/{file}")
    assert_refused(shell.run(*GENERATE), shell, f"{repository} broke off; run the same command again")
    (finished,) = replace(shell, offline=True).run_each([GENERATE])
    assert_refused(finished, shell, "is not whole in the cache")
    hub.cut.clear()
    finished = shell.run(*GENERATE)
    assert finished.code == 0, finished.err
