"""``check``, in this process or on Ray: groups of files, and the findings of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.moderation import Finding


@dataclass(frozen=True)
class CheckJob:
    """The guard and the VAE by name, as ``check`` takes them.

    Attributes:
        model: pipeline whose VAE encodes pictures; None: the shipped one.
        guard: as ``load_guard`` takes it.
        bank: as ``load_guard`` takes it.
        bank_digest: of the bank that the findings are to be of.
        has_pictures: whether a VAE is needed.
        scaled: whether latents are a pipeline's own.
    """

    model: str | None
    guard: str | None
    bank: Path | None
    bank_digest: str
    has_pictures: bool
    scaled: bool

    def open(self) -> Callable[[Sequence[Path]], list[Finding]]:
        """
        Raises:
            InputError: this machine finds another guard or bank under the name.
        """
        from latent_guard.loading import load_guard

        guard = load_guard(self.model, self.guard, self.bank)
        if guard.bank.digest != self.bank_digest:
            raise InputError("a machine of the cluster has another guard or bank of that name; copy one to all of them")
        return self.on(guard)

    def on(self, guard: LatentGuard) -> Callable[[Sequence[Path]], list[Finding]]:
        """The same with a guard that is loaded already: what checks a group of files."""
        from latent_guard.guidance.moderation import Moderator
        from latent_guard.loading import load_vae

        moderator = Moderator(guard, load_vae(self.model) if self.has_pictures else None)
        return partial(moderator.check, scaled=self.scaled)
