"""What a run says of the code that made it."""

import pytest

from latent_guard.bench.runs import provenance
from latent_guard.errors import GuardError


def test_the_guards_hash_covers_each_room_that_makes_a_guarded_image(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = provenance.guard_code()
    for rooms in (("guidance",), ("pipelines",)):
        monkeypatch.setattr(provenance, "GUARD_ROOMS", rooms)
        assert provenance.guard_code() != whole


def test_a_room_without_source_is_an_error_and_not_a_hash_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "GUARD_ROOMS", ("guidance", "no_such_room"))
    with pytest.raises(GuardError, match="no_such_room holds no Python source"):
        provenance.guard_code()
