"""Every pipeline class that the guard knows passes every proof of conformance, as a user's own does in `doctor`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest

from latent_guard.pipelines.family_table import KNOWN
from latent_guard.testing.conformance import check_conformance
from tests.pipelines import families
from tests.pipelines.families.tiny import Tiny


def _all() -> list[Tiny]:
    modules = [import_module(f"{families.__name__}.{module.name}") for module in iter_modules(families.__path__)]
    return [tiny for module in modules for tiny in getattr(module, "FAMILIES", ())]


FAMILIES = _all()


def test_every_known_class_is_here() -> None:
    assert {tiny.name.split("-")[0] for tiny in FAMILIES} == set(KNOWN)


@pytest.mark.parametrize("tiny", FAMILIES, ids=lambda tiny: tiny.name)
def test_conformance(tiny: Tiny) -> None:
    failed = [proof for proof in check_conformance(tiny.pipeline(), tiny.call) if not proof.holds]
    assert not failed
