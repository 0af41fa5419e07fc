from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_card import TrainingFacts

GOLDEN = Path(__file__).parent / "golden_small"
FACTS = TrainingFacts(
    data="two million pictures of spoons, captioned by hand",
    samples_seen=34_000_000_000,
    limits="Knows spoons. Forks look like spoons to it.",
)


@dataclass
class Hub:
    """What the hub was told, and what it was given, in place of ``huggingface_hub.HfApi``."""

    repositories: list[tuple[str, bool]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    refuses: Exception | None = None

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        if self.refuses:
            raise self.refuses
        assert exist_ok
        self.repositories.append((repo_id, private))
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.files |= {
            str(path.relative_to(folder_path)): path.read_bytes() for path in folder_path.rglob("*") if path.is_file()
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    return made


def snapshot(hub: Hub, folder: Path):
    def download(repo_id: str, *, allow_patterns: list[str], revision: str | None) -> str:
        for name, content in hub.files.items():
            if any(Path(name).match(pattern) for pattern in allow_patterns):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return str(folder)

    return download


def test_weights_tokenizer_config_and_card_are_published(hub: Hub, tiny_model: LatentCLIP):
    assert tiny_model.push_to_hub("me/spoons", FACTS, private=True) == "https://hub/me/spoons"
    assert hub.repositories == [("me/spoons", True)]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer/tokenizer.json"} <= set(hub.files)
    assert not [name for name in hub.files if name.endswith((".part", ".pt", ".bin", ".pkl"))]
    assert json.loads(hub.files["config.json"])["latent_space"]["name"] == "toy VAE"


@torch.no_grad()
def test_what_was_published_can_be_had_back_exactly(
    hub: Hub, tmp_path: Path, tiny_model: LatentCLIP, monkeypatch: pytest.MonkeyPatch
):
    tiny_model.push_to_hub("me/spoons", FACTS)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot(hub, tmp_path))
    back = LatentCLIP.from_pretrained("me/spoons")
    latents = torch.randn(2, 4, 8, 8)
    assert torch.equal(back.encode_latents(latents), tiny_model.encode_latents(latents))
    assert not (tmp_path / "README.md").exists()


def test_a_published_checkpoint_keeps_reproducing_its_authors(hub: Hub, tmp_path: Path):
    LatentCLIP.from_official(GOLDEN).push_to_hub("me/latent-clip", FACTS)
    (tmp_path / "w.safetensors").write_bytes(hub.files["model.safetensors"])
    assert {weight.dtype for weight in load_file(tmp_path / "w.safetensors").values()} == {torch.float32}


def test_the_card_tells_space_data_samples_and_limits(hub: Hub):
    model = LatentCLIP.from_official(GOLDEN)
    model.push_to_hub("me/latent-clip", FACTS)
    _, head, card = hub.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "latent-guard",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["latent-clip", "clip"],
    }
    assert card.startswith("# latent-clip\n")
    told = ("SDXL (4 channels, /8, scaling 0.13025)", "4 x 64 x 64 positions", "512 pixels a side", "`AutoencoderKL`")
    facts = (FACTS.data, "34,000,000,000", FACTS.limits, model.fingerprint(), 'from_pretrained("me/latent-clip")')
    for line in (*told, *facts):
        assert line in card
    assert "clean ones only" in card.replace("\n", " ")


def test_what_is_not_a_hub_id_is_refused_before_anything_is_sent(hub: Hub, tiny_model: LatentCLIP):
    with pytest.raises(InputError, match="owner/name"):
        tiny_model.push_to_hub("spoons", FACTS)
    assert hub == Hub()


def test_a_hub_that_refuses_says_so_in_one_line(hub: Hub, tiny_model: LatentCLIP):
    hub.refuses = OSError("401 Client Error\n\nUnauthorized")
    with pytest.raises(InputError, match=r"me/spoons: check .* connection \(401 Client Error Unauthorized\)"):
        tiny_model.push_to_hub("me/spoons", FACTS)


def test_a_model_that_the_hub_has_not_is_named(monkeypatch: pytest.MonkeyPatch):
    def download(repo_id: str, *, allow_patterns: list[str], revision: str | None) -> str:
        raise OSError("404")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match="someone/nothing is no folder here, and cannot be downloaded"):
        LatentCLIP.from_pretrained("someone/nothing")
