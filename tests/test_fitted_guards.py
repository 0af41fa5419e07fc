"""A guard that was fitted to a pipeline is found by the pipeline's name, wherever the pipeline's folder lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from latent_guard import fitted_guards
from latent_guard.errors import InputError
from latent_guard.fitted_guards import identity_of
from latent_guard.testing import tiny_pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_a_folder_that_is_moved_or_documented_stays_the_same_pipeline(pipeline: Path) -> None:
    before = identity_of(str(pipeline))
    (pipeline / "README.md").write_text("lovely")
    (pipeline / "guard").mkdir()
    (pipeline / "guard" / "config.json").write_text("{}")
    moved = pipeline.rename(pipeline.parent / "elsewhere")
    assert identity_of(str(moved)) == before
    assert len(before) == 16


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_other_weights_or_another_config_are_another_pipeline(pipeline: Path, part: str) -> None:
    before = identity_of(str(pipeline))
    (weights,) = (pipeline / part).glob("*.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert identity_of(str(pipeline)) != before
    weights.write_bytes(whole)
    assert identity_of(str(pipeline)) == before
    config = pipeline / part / "config.json"
    config.write_text(config.read_text() + " ")
    assert identity_of(str(pipeline)) != before


def test_a_hub_id_is_its_own_identity_and_nothing_else_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity_of("stabilityai/sdxl-turbo") == "stabilityai--sdxl-turbo"
    for nothing in ("", "nowhere", "a/b/c", "../x"):
        assert identity_of(nothing) == ""
        assert fitted_guards.find(nothing) is None
        with pytest.raises(InputError, match="neither a folder nor a hub id"):
            fitted_guards.place_of(nothing)


def test_it_lies_in_the_users_data_folder_or_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(fitted_guards.HOME, str(tmp_path))
    assert fitted_guards.place_of("owner/name") == tmp_path / "guards" / "owner--name"
    assert fitted_guards.place_of("shipped") == tmp_path / "guards" / "shipped"
    monkeypatch.delenv(fitted_guards.HOME)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    place = fitted_guards.place_of("owner/name")
    assert place.parts[-3:] == ("latent-guard", "guards", "owner--name")


def test_half_a_guard_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(fitted_guards.HOME, str(tmp_path))
    place = fitted_guards.place_of("owner/name")
    (place.parent / f"{place.name}.0123.part").mkdir(parents=True)
    (place.parent / f"{place.name}.0123.part" / "manifest.json").write_text("{}")
    assert fitted_guards.find("owner/name") is None
    place.mkdir()
    (place / "config.json").write_text("{}")
    assert fitted_guards.find("owner/name") is None
    (place / "manifest.json").write_text("{}")
    assert fitted_guards.find("owner/name") == place
    shutil.rmtree(place)
    assert fitted_guards.find("owner/name") is None
