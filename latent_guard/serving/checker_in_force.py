"""What judges texts and pictures for the moderation endpoints: always the guard in force."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from latent_guard.serving.moderation.checker import ContentChecker
from latent_guard.serving.service import Service

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard


class CheckerInForce:
    """Gives the checker of a service's guard in force, a new one after each reload."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._vae = copy.deepcopy(service.pipe.vae)  # another thread draws with the pipeline's own
        self._one_at_a_time = threading.Lock()
        self._made: tuple[LatentGuard, ContentChecker] | None = None

    def __call__(self) -> ContentChecker:
        """The checker; ``HTTPRefusalError`` (503) until a guard is in force."""
        guard = self._service.guard
        with self._one_at_a_time:
            if self._made is None or self._made[0] is not guard:
                self._made = guard, ContentChecker(guard, self._vae)
            return self._made[1]
