"""Another bank or policy without a restart: whole or not at all, from a watched folder or by a request.

FOLDER/policy.yaml    in the place of the guard's policy
FOLDER/bank/          in the place of its bank
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.concepts.additions import with_concepts
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import InputError, LatentGuardError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.guard_folder import OWN
from latent_guard.guidance.policy_file import read_policies
from latent_guard.serving.in_force import InForce

if TYPE_CHECKING:
    from latent_guard.guidance.policy import Policies
    from latent_guard.serving.service import Service

POLICY, BANK = "policy.yaml", "bank"
_EVERY = 1.0  # seconds
_LONGEST_NAME = 255  # characters: file systems have none that is longer
_LOGGER = logging.getLogger(__name__)
_State = tuple[tuple[str, int, int], ...]


class Reloading:
    """Puts other banks and policies in force, one change at a time."""

    def __init__(self, service: Service, folder: Path | None = None) -> None:
        """``folder`` is what ``watch`` looks at; what it holds now is in force already (``with_parts_of``)."""
        self._service, self._folder = service, folder
        self._one_at_a_time = threading.Lock()
        self._stopping = threading.Event()
        self._seen = self._state()

    def watch(self) -> None:
        """From now on put in force what changes in the folder; what cannot be used is logged, and changes nothing."""
        if self._folder is not None:
            threading.Thread(
                target=self._watch, args=[self._folder], name="latent-guard-reloading", daemon=True
            ).start()

    def stop(self) -> None:
        """Look no longer."""
        self._stopping.set()

    def read_again(self) -> InForce:
        """Put in force what the folder holds, whether it changed or not.

        Raises:
            LatentGuardError: it cannot be used; what was in force still is.
        """
        if self._folder is None:
            raise InputError("no folder is watched; start the service with --reload FOLDER, or send a concept")
        with self._one_at_a_time:
            self._seen = self._state()
            return self._put(with_parts_of(self._folder, self._service.guard))

    def take_bank(self, name: str) -> InForce:
        """Put the bank of a folder within the watched one in force; raises as ``read_again``."""
        folder = self._folder
        place = None if folder is None or len(name) > _LONGEST_NAME else (folder / name).resolve()
        if place is None or folder is None or not place.is_relative_to(folder.resolve()):
            raise InputError("a bank is named by its folder within the one that --reload names")
        with self._one_at_a_time:
            return self._put(_other(self._service.guard, bank=ConceptBank.load(place)))

    def add_concept(self, prompts: PromptSet) -> InForce:
        """Add concepts in words to the bank in force, and keep it in the watched folder, where there is one.

        Raises:
            LatentGuardError: they cannot be used; what was in force still is.
        """
        with self._one_at_a_time:
            guard = self._service.guard
            bank = with_concepts(guard.bank, guard.model, prompts)
            found = self._put(_other(guard, bank=bank))
            if self._folder is not None:
                bank.save(self._folder / BANK)
                self._seen = self._state()
            return found

    def _put(self, guard: LatentGuard) -> InForce:
        outcome = "refused"
        try:
            guard.policies.require_known(guard.bank.categories)
            found = self._service.replace_guard(guard).result()
            outcome = "done"
            return found
        finally:
            self._service.metrics.reload(outcome)

    def _state(self) -> Mapping[str, _State]:
        """Names, times and sizes of the files that count."""
        if self._folder is None:
            return {}
        files = {POLICY: [self._folder / POLICY], BANK: sorted((self._folder / BANK).glob("*"))}
        return {name: tuple(_about(path) for path in paths if path.exists()) for name, paths in files.items()}

    def _watch(self, folder: Path) -> None:
        """Look every second; what changed is read once it has been the same at two looks."""
        before = self._seen
        while not self._stopping.wait(_EVERY):
            try:
                now = self._state()
                with self._one_at_a_time:
                    names = [name for name, state in now.items() if state != self._seen[name]]
                    if names and now == before:
                        self._seen = now
                        self._put(with_parts_of(folder, self._service.guard, names))
                        _LOGGER.warning("%s of %s are in force", " and ".join(names), folder)
                before = now
            except Exception as error:  # whatever it is, what was in force still is, and the watch goes on
                said = str(error) if isinstance(error, LatentGuardError) else type(error).__name__
                _LOGGER.error("what lies in %s cannot be used, the guard stays as it was: %s", folder, said)


def require_folder(folder: Path | None) -> None:
    """Raise ``InputError`` for a folder that is to be watched and is none."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder} is no folder; make it, or name another with --reload")


def with_parts_of(folder: Path | None, guard: LatentGuard, names: Sequence[str] = (POLICY, BANK)) -> LatentGuard:
    """A guard with those parts of a watched folder that are there.

    Raises:
        LatentGuardError: there is no such folder, or a part of it cannot be used.
    """
    require_folder(folder)
    if folder is None:
        return guard
    policy, bank = folder / POLICY, folder / BANK
    policies = replace(read_policies(policy), name=OWN) if POLICY in names and policy.exists() else None
    return _other(guard, ConceptBank.load(bank) if BANK in names and bank.exists() else None, policies)


def _other(guard: LatentGuard, bank: ConceptBank | None = None, policies: Policies | None = None) -> LatentGuard:
    """A guard with another bank or policies; ``InputError`` if the bank is another model's."""
    return LatentGuard(
        guard.model, bank or guard.bank, policies or guard.policies, guard.canary, guard.audit, guard.fitted_for
    )


def _about(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return path.name, found.st_mtime_ns, found.st_size
