"""The runs that one request takes: all its images, then again those that the policy does not let stand."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from latent_guard.guidance.verdict import Verdict
from latent_guard.guidance.watch import Watch
from latent_guard.pipelines.images import Pictures
from latent_guard.pipelines.request import Request
from latent_guard.pipelines.restarts import with_twice_the_steps


class Attempts:
    """What became of each image of a request so far: its picture, and a verdict on all its runs."""

    def __init__(self, pipe: Any, watch: Watch, request: Request) -> None:
        """Run all images once, inside the watch's guarded block."""
        self._pipe, self._watch, self._request = pipe, watch, request
        self._ran = list(range(request.images))  # the images of the latest run, in its order
        watch.attempt = 0
        asked = watch.read(request.prompts)
        self.pictures, verdicts = self._run(request.call())
        self.verdicts = [replace(v, prompt=asked[request.prompt_of(v.image)]) for v in verdicts]

    def run_again(self, factor: int) -> None:
        """Run the images that are blocked, and have a restart left, until there is none; `factor` is the VAE's.

        A call of one step cannot be steered on the way. Where its images are to be steered, they go on from their
        pushed end instead, in two steps, the first of which only puts noise back, if their budgets allow that.
        """
        policies, one_run = self._watch.policies, self._watch.planned
        while again := [v.image for v in self.verdicts if policies.run_again(v, one_run)]:
            self._watch.attempt = restart = (self._watch.attempt or 0) + 1
            own = self._request.call_again(again, restart, factor)
            longer = with_twice_the_steps(own)
            blocked = {self._ran.index(image): self.verdicts[image].category or "" for image in again}
            times = 3 if "strength" in own else 2  # img2img can have three left of twice the steps that left one
            pays = all(policies.run_again(self.verdicts[image], one_run, times) for image in again)
            if longer and pays and self._watch.renoise(blocked):
                own = longer
            fresh, later = self._run(own)
            self._ran = again
            for place, (image, verdict) in enumerate(zip(again, later, strict=True)):
                self.pictures.rows[image] = fresh.rows[place]
                self.verdicts[image] = verdict.after(self.verdicts[image])

    def _run(self, arguments: dict[str, Any]) -> tuple[Pictures, list[Verdict]]:
        """One call of the pipeline: its images, and verdicts that count them from 0."""
        watch, before, started = self._watch, len(self._watch.verdicts), time.perf_counter()
        pictures = Pictures(self._pipe(**arguments).images, arguments.get("output_type", "pil"))
        new = watch.verdicts[before:]
        seconds = (time.perf_counter() - started) / len(new)
        verdicts = [replace(v, image=i, cost=replace(v.cost, seconds=seconds)) for i, v in enumerate(new)]
        return pictures, verdicts
