"""What the methods are made of, each thing loaded when a method first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.bench.baselines.words import Words, words_of
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.bench.baselines.check_then_block import Checker
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.calibration_set import CalibrationSet
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.latent_clip.model import LatentCLIP

OpenChecker = Callable[[str, Mapping[str, Any]], "Checker"]
DRAWN, RATE = 2000, 0.03  # of the shipped bank's calibration: benign prompts, and how many of them may be touched


@dataclass(frozen=True, eq=False)
class BaselineContext:
    """A folder laid out as the shipped bundle, and what is kept beside it.

    folder        ``guard/`` and ``bank/``; for methods in pixels on the embedded world also ``pixel_twin/``,
                  ``labeller/`` and ``pipeline/``
    cache         a folder for calibration draws of a pixel CLIP other than the shipped one
    device        of every model
    open_checker  opens a judge by name and options, for check-then-block; None: only the pixel CLIP checks
    drawn, rate   of the pixel CLIP's calibration
    given_guard   the guard of all methods; None: the one in ``guard_folder``
    guard_folder  None: ``guard/`` in ``folder``
    """

    folder: Path
    cache: Path
    device: str = "cpu"
    open_checker: OpenChecker | None = None
    drawn: int = DRAWN
    rate: float = RATE
    given_guard: LatentGuard | None = None
    guard_folder: Path | None = None

    @cached_property
    def guard(self) -> LatentGuard:
        """The guard, without the policy that a method names.

        Raises:
            InputError: none was given, and the folder has none.
        """
        from latent_guard.guidance.guard import LatentGuard

        if self.given_guard is not None:
            return self.given_guard
        folder = self.guard_folder or self.folder / "guard"
        if not folder.is_dir() or not any((place / "bank").is_dir() for place in (folder, folder.parent)):
            raise InputError(
                f"this method needs a guard, and {folder.parent} has no guard/ with a bank/; fit one to the model with "
                "`latent-guard fit MODEL`, name as the model a folder that they lie beside, or give `evaluate` a guard"
            )
        return LatentGuard.from_pretrained(folder, device=self.device)

    def identity_of_guard(self) -> dict[str, str]:
        """What a run records of the guard, ``guard``; nothing where no method has asked for it."""
        if "guard" not in vars(self):
            return {}
        guard = self.guard  # its own policies count: methods may name none
        clip, bank, policies = guard.model.fingerprint(), guard.bank.digest, guard.policies.digest
        return {"guard": f"Latent-CLIP {clip}, bank {bank}, policies {policies}"}

    @cached_property
    def words(self) -> Words:
        """The guard's concepts, simplest phrases, by category."""
        return words_of(self.guard.bank)

    @cached_property
    def pixel_clip(self) -> LatentCLIP:
        """The CLIP on pixels, made as the guard's was."""
        from latent_guard.latent_clip.model import LatentCLIP

        if not (self.folder / "pixel_twin").is_dir():
            raise InputError(f"{self.folder} has no pixel_twin/, which methods in pixels need; leave them out")
        return LatentCLIP.from_pretrained(self.folder / "pixel_twin", device=self.device)

    @cached_property
    def draws(self) -> CalibrationSet:
        """The calibration draws as the CLIP sees them, made where neither the package nor ``cache`` holds them."""
        from latent_guard.bench.baselines.pixel_clip import draws_in_pixels

        return draws_in_pixels(self.pixel_clip, self.folder, self.device, self.drawn, self.cache)

    @cached_property
    def guidance_bank(self) -> ConceptBank:
        """The CLIP's bank for looks on the way."""
        from latent_guard.bench.baselines.pixel_clip import bank_for_guidance

        return bank_for_guidance(self.pixel_clip, self.draws, self.rate)

    @cached_property
    def checking_bank(self) -> ConceptBank:
        """The CLIP's bank for finished pictures."""
        from latent_guard.bench.baselines.pixel_clip import bank_for_checking

        return bank_for_checking(self.pixel_clip, self.draws, self.rate)

    def guard_in_pixels(self, pipe: Any) -> LatentGuard:
        """The guard of a pipeline that decodes at every look."""
        from latent_guard.bench.baselines.pixel_clip import guard_in_pixels

        return guard_in_pixels(self.pixel_clip, self.guidance_bank, pipe.vae)
