"""The attempts that one request takes: all its images, then again those that the policy does not let stand."""

from __future__ import annotations

from typing import Any

from latent_guard.guidance.outcome import retried
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.renoise import Renoise
from latent_guard.guidance.watch import Watch
from latent_guard.pipelines.call import Request
from latent_guard.pipelines.images import Pictures


class Retries:
    """What became of each image of a request so far: its picture, and a verdict on all its attempts."""

    def __init__(self, watch: Watch, policies: Policies, request: Request, renoise: Renoise) -> None:
        """Make all images once, inside the watch's guarded block."""
        self._watch = watch
        self._policies = policies
        self._request = request
        self._renoise = renoise
        arguments = request.call()
        self._latest = watch.attempt(0, arguments)
        self.verdicts = list(self._latest.verdicts)
        self.pictures = _pictures(self._latest.images, arguments)

    def run(self) -> None:
        """Make the images that are blocked again, while their policies allow it.

        A call of one step cannot be steered on the way: its images may be noised again instead (``Renoise``).
        """
        number = 0
        family, factor = self._watch.latents.layout.family, self._watch.latents.space.factor
        one_run = self._latest.planned
        places = list(range(self._request.images))  # the images of the latest attempt, in its order
        while again := [v.image for v in self.verdicts if self._policies.allows_retry(v, one_run)]:
            number += 1
            fresh = self._request.call_again(again, number, factor * family.patch, references=family.references)
            blocked = {places.index(image): self.verdicts[image] for image in again}
            instead = self._renoise.instead(fresh, self._latest, blocked, one_run)
            arguments, first_step = instead or (fresh, None)
            self._latest = self._watch.attempt(number, arguments, first_step)
            pictures = _pictures(self._latest.images, arguments)
            for image, row, verdict in zip(again, pictures.rows, self._latest.verdicts, strict=True):
                self.pictures.rows[image] = row
                self.verdicts[image] = retried(verdict, self.verdicts[image])
            places = again


def _pictures(images: Any, arguments: dict[str, Any]) -> Pictures:
    return Pictures(images, arguments.get("output_type", "pil"))
