"""The guard: the one class that attaches to a diffusers pipeline."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latent_guard.errors import GuardError, InputError, LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.guidance.canary import Canary, gray_latent
from latent_guard.guidance.layouts import layout_of
from latent_guard.guidance.pictures import Pictures
from latent_guard.guidance.policy import SAFE, Policy
from latent_guard.guidance.predictions import require_supported
from latent_guard.guidance.prompts import as_prompts, words_dropped
from latent_guard.guidance.restarts import Generators, Origins, arguments_for, generators_from_seed
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.guidance.watch import OnBlock, Watch
from latent_guard.latent_clip.latent_space import LatentSpace

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP

GRAY_SIZE = 64


@dataclass(frozen=True)
class GuardedOutput:
    """What `LatentGuard.generate` gives: the pipeline's images, in its own format, and a verdict for each."""

    images: Any
    verdicts: tuple[Verdict, ...]


class LatentGuard:
    """Watches the latents of running diffusers pipelines; one guard can serve several threads, a pipeline each."""

    def __init__(
        self, model: LatentCLIP, bank: ConceptBank, policy: Policy = SAFE, canary: Canary | None = None
    ) -> None:
        """A guard of a Latent-CLIP and a concept bank made by it; the model is set to inference.

        Without a canary the caller vouches that guarded pipelines have the VAE that the model was trained on.
        Raises `InputError` if the bank was made by another model.
        """
        bank.check_made_by(model)
        self.model = model.eval().requires_grad_(False)
        self.bank, self.policy, self.canary = bank, policy, canary

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        bank: ConceptBank | Path | str | None = None,
        policy: Policy = SAFE,
        device: torch.device | str = "cpu",
    ) -> LatentGuard:
        """Load a guard folder (a Latent-CLIP and its canary) and a bank, by default from `bank/` beside the folder.

        Raises `CheckpointError` if anything is missing or damaged.
        """
        from latent_guard.concepts.bank import ConceptBank
        from latent_guard.latent_clip.model import LatentCLIP

        folder = Path(folder)
        if bank is None:
            bank = folder.parent / "bank"
        if not isinstance(bank, ConceptBank):
            bank = ConceptBank.load(bank)
        return cls(LatentCLIP.from_pretrained(folder, device=device), bank, policy, Canary.load(folder))

    def attach(
        self, pipe: Any, policy: Policy | None = None, on_block: OnBlock = "neutral"
    ) -> AbstractContextManager[Watch]:
        """`with guard.attach(pipe) as watch: pipe(...)`, then `watch.verdicts`: flag, steer and block, no restarts.

        A blocked image's latent is replaced by a neutral one inside the last step, or, with
        `on_block="raise"`, the generation ends with `BlockedError`.

        Raises, at once, `UnsupportedPipelineError` for an unknown pipeline, scheduler or prediction type and
        `LatentSpaceMismatchError` for another VAE; inside the block, `GuardError` if the guard fails or an
        image would go unverified.
        """
        if on_block not in ("neutral", "raise"):
            raise InputError(f'on_block must be "neutral" or "raise", got {on_block!r}')
        return self._watch(pipe, policy or self.policy, on_block).installed()

    def generate(
        self,
        pipe: Any,
        prompt: str | list[str],
        policy: Policy | None = None,
        *,
        seed: int | None = None,
        generator: Generators = None,
        **arguments: Any,
    ) -> GuardedOutput:
        """Run `pipe(prompt, **arguments)` under the whole policy, restarts included.

        Images that are unsafe at the end are run again, they alone, from noise that is a function of their
        own generator and the number of the restart; after `policy.restarts` of these, a blocked image is
        a gray picture. With `seed`, image i has a CPU generator of seed + i, whatever else is in the batch.
        An image that was never touched is, bit for bit, that of the unguarded call.

        Raises `InputError` for a bad argument, and what `attach` raises.
        """
        prompts = as_prompts(prompt)
        per_prompt = _at_least_one(arguments.pop("num_images_per_prompt", 1), "num_images_per_prompt")
        if arguments.get("num_inference_steps") is not None:
            _at_least_one(arguments["num_inference_steps"], "num_inference_steps")
        images = len(prompts) * per_prompt
        if seed is not None and generator is not None:
            raise InputError("give either a seed or a generator, not both")
        if seed is not None:
            generator = generators_from_seed(seed, images)
        arguments.pop("return_dict", None)
        dropped = words_dropped(getattr(pipe, "tokenizer", None), prompts)
        first = {**arguments, "prompt": prompt, "num_images_per_prompt": per_prompt}
        origins = Origins(generator, images)

        policy = policy or self.policy
        watch = self._watch(pipe, policy, "neutral")
        with watch.installed():
            watch.withholds = policy.block or policy.restarts > 0
            pictures, verdicts = _run(pipe, watch, {**first, "generator": generator})
            verdicts = [replace(v, prompt_words_dropped=dropped[v.image // per_prompt]) for v in verdicts]
            for restart in range(1, policy.restarts + 1):
                again = [v.image for v in verdicts if v.decision is Decision.BLOCKED]
                if not again:
                    break
                watch.withholds = policy.block or restart < policy.restarts
                own = arguments_for(again, prompts, per_prompt, arguments, self.model.config.latent_space.factor)
                fresh, later = _run(pipe, watch, {**own, "generator": [origins.generator(i, restart) for i in again]})
                for place, (image, verdict) in enumerate(zip(again, later, strict=True)):
                    pictures.rows[image] = fresh.rows[place]
                    verdicts[image] = verdict.after(verdicts[image])
        for verdict in verdicts:
            if verdict.decision is Decision.BLOCKED:
                pictures.make_gray(verdict.image)
        return GuardedOutput(pictures.joined(), tuple(verdicts))

    def _watch(self, pipe: Any, policy: Policy, on_block: OnBlock) -> Watch:
        """Everything checked, nothing changed yet."""
        require_supported(pipe.scheduler)
        expected, vae = self.model.config.latent_space, pipe.vae
        if vae is None:
            if self.canary is not None:
                raise UnsupportedPipelineError("this pipeline has no VAE to compare with the guard's; add one")
            space, neutral = expected, torch.zeros(expected.channels, 1, 1)
        else:
            space = LatentSpace.of_vae(vae)
            if (space.channels, space.factor) != (expected.channels, expected.factor):
                raise LatentSpaceMismatchError(
                    f"this pipeline's VAE has {space.channels} channels and factor {space.factor}, the guard reads "
                    f"{expected.channels} and {expected.factor}; use a guard made for this VAE"
                )
            device = pipe._execution_device
            if self.canary is not None:
                self.canary.check(vae, device)
            neutral = gray_latent(vae, device, GRAY_SIZE)
        layout = layout_of(pipe, space.channels)
        return Watch(pipe, Scorer(self.model, self.bank), space, layout, space.from_raw(neutral), policy, on_block)


def _run(pipe: Any, watch: Watch, arguments: dict[str, Any]) -> tuple[Pictures, list[Verdict]]:
    """One call of the pipeline: its images, and verdicts that count them from 0."""
    before, started = len(watch.verdicts), time.perf_counter()
    pictures = Pictures(pipe(**arguments).images, arguments.get("output_type", "pil"))
    watch.require_verified()
    new = watch.verdicts[before:]
    if len(new) != len(pictures.rows):
        raise GuardError(f"the pipeline gave {len(pictures.rows)} images, but the guard verified {len(new)}")
    seconds = (time.perf_counter() - started) / len(new)
    verdicts = [replace(v, image=i, cost=replace(v.cost, seconds=seconds)) for i, v in enumerate(new)]
    return pictures, verdicts


def _at_least_one(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
