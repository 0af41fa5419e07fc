"""What reviewers decided becomes examples in a refreshed bank, whose thresholds are set on other images."""

from __future__ import annotations

import pytest
from PIL import Image

from latent_guard.concepts.texts import Concept
from latent_guard.errors import InputError
from latent_guard.files.png import png_bytes
from latent_guard.fitting.reviewed import ReviewedPicture, over_threshold
from latent_guard.guidance.guard import LatentGuard


def reviewed(name: str, red: int, unsafe: bool) -> ReviewedPicture:
    return ReviewedPicture(name, png_bytes(Image.new("RGB", (40, 24), (red, 0, 99))), "violence", unsafe)


def test_reviewed_pictures_are_examples_until_the_next_refresh(fit_of) -> None:
    plain, _ = fit_of().run()
    pictures = [reviewed("a", 200, True), reviewed("b", 9, False), reviewed("c", 10, False)]
    taught, measured = fit_of().refresh(reviewed=pictures)
    bank = LatentGuard.from_pretrained(fit_of().out).bank
    assert bank.digest == taught.bank.digest
    assert bank.concepts == (*plain.bank.concepts, Concept("reviewed image a", "violence"))
    assert bank.benign_prompts == (*plain.bank.benign_prompts, "reviewed image b", "reviewed image c")
    assert (bank.calibration.rate, bank.calibration.identity) == (0.2, plain.bank.calibration.identity)
    assert measured.benign_touched.of > 0
    assert taught.model.fingerprint() == plain.model.fingerprint()
    assert over_threshold(bank, taught.model, fit_of().pipe.vae, pictures).shape == (3,)
    again, _ = fit_of().refresh()
    assert again.bank.digest == plain.bank.digest
    with pytest.raises(InputError, match="the reviewed image d cannot be used"):
        fit_of().refresh(reviewed=[ReviewedPicture("d", b"nothing", "violence", True)])
