"""The guard: the one class that attaches to a diffusers pipeline."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latent_guard.errors import CheckpointError, InputError
from latent_guard.guidance.attachment import Attachment
from latent_guard.guidance.fail_open import ON_ERROR, OnError
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.policy_file import AnyPolicy, policies_of
from latent_guard.guidance.prompt_score import scores_if_asked
from latent_guard.guidance.renoise import Renoise
from latent_guard.guidance.retries import Retries
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Check
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.guidance.watch import OnBlock, OnVerdicts, Watch
from latent_guard.latent_clip import hub
from latent_guard.pipelines.call import Generators, Request
from latent_guard.pipelines.canary import CANARY_FILE, Canary
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.prompt_truncation import longest_context_tokenizer, words_dropped

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.latent_clip.model import LatentCLIP


BANK = "bank"
GUARD_FILES = (*hub.LATENT_CLIP_FILES, CANARY_FILE, f"{BANK}/*")  # of a guard's repository on the hub


def idle_categories(policies: Policies, bank: ConceptBank) -> list[str]:
    """A line for each of a bank's categories that can never act under some policies: no image scores so high.

    Raises:
        InputError: the policies name a category that the bank does not have.
    """
    rules = Rules.of(policies, bank.categories)
    highest = bank.max_scores()
    return [
        f"{bank.categories[k]} can never act under the policy {policies.name}: no image scores over {highest[k]:.1f} "
        f"in it, and its threshold with trigger {rules.policies[k].trigger:+g} is higher"
        for k in rules.idle(highest, bank.thresholds.amin(dim=1))
    ]


@dataclass(frozen=True)
class GuardedOutput:
    """What ``LatentGuard.generate`` gives: the pipeline's images, in its own format, and a verdict for each.

    ``checks`` are all that the guard saw on the way, retries included.
    """

    images: Any
    verdicts: tuple[Verdict, ...]
    checks: tuple[Check, ...] = ()


class LatentGuard:
    """Watches the latents of running diffusers pipelines; one guard can serve several threads, a pipeline each."""

    def __init__(
        self,
        model: LatentCLIP,
        bank: ConceptBank,
        policy: AnyPolicy = SAFE,
        canary: Canary | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        """A guard of a Latent-CLIP and a concept bank made by it; the model is set to inference.

        A policy is a ``Policy``, the ``Policies`` of several categories, a name ("strict"), or a policy file's path.
        Without a canary the caller vouches that guarded pipelines have the VAE that the model was trained on. Every
        verdict is written into the ``audit`` log before its image is handed out.

        Raises:
            InputError: the bank was made by another model, or no policy has that name.
        """
        bank.require_made_by(model)
        self.model = model.eval().requires_grad_(False)
        self.bank = bank
        self.policies = policies_of(policy)
        self.canary = canary
        self.audit = audit

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        bank: ConceptBank | Path | str | None = None,
        policy: AnyPolicy = SAFE,
        device: torch.device | str = "cpu",
        audit: AuditLog | None = None,
        revision: str | None = None,
    ) -> LatentGuard:
        """Load a guard folder (a Latent-CLIP and its canary) and a bank, by default ``bank/`` in it or beside it.

        ``folder`` may be a hub id, ``owner/name``, of a repository laid out as such a folder; its ``revision`` (a
        branch, tag or commit) then is the one that is used, and the log says which commit that was.

        Raises:
            CheckpointError: anything is missing, or is not what was written there.
        """
        from latent_guard.concepts.bank import ConceptBank
        from latent_guard.files.manifests import MANIFEST
        from latent_guard.latent_clip.model import LatentCLIP

        folder = hub.local_folder(folder, GUARD_FILES, revision)
        if folder.is_dir() and not (folder / MANIFEST).exists():
            warnings.warn(
                f"{folder} carries no {MANIFEST}, so that a change of its files would not be noticed; load the model "
                "and `save_pretrained` it again",
                stacklevel=2,
            )
        if not isinstance(bank, ConceptBank):
            bank = ConceptBank.load(bank or _bank_of(folder))
        return cls(LatentCLIP.from_pretrained(folder, device=device), bank, policy, Canary.load(folder), audit)

    def require_supported(self, pipe: Any, policy: AnyPolicy | None = None) -> None:
        """Raise what ``attach`` raises at once, for whoever wants to know beforehand; nothing is changed."""
        self._watch(pipe, self._policies(policy), "neutral", "close")

    def attach(
        self,
        pipe: Any,
        policy: AnyPolicy | None = None,
        on_block: OnBlock = "neutral",
        on_error: OnError = "close",
    ) -> Attachment:
        """``with guard.attach(pipe) as watch: pipe(...)``, then ``watch.verdicts``: flag, steer and block, no retries.

        A blocked image's latent is replaced by a neutral one inside the last step, or, with
        ``on_block="raise"``, the generation ends with ``BlockedError``. The prompt itself is not seen here, so a
        policy's prompt trigger does nothing.

        If the guard itself fails, the generation ends with ``GuardError``. With ``on_error="open"`` it goes on without
        the guard instead: the failure is logged, and the verdicts of its images say ``unchecked``.

        What is decoded is what was judged: latents that a callback puts in the place of those that the last step
        returned are judged again first. Only ``pipe(...)`` itself is followed to what it returns: a loop of your own
        over the scheduler's steps, or another pipeline with the same scheduler and VAE, is judged at its steps and
        decodes.
        A call outside the ``with`` block is an error, so that nobody who forgot it takes his images for guarded ones.

        Raises:
            UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type; at once.
            LatentSpaceMismatchError: another VAE; at once.
            GuardError: inside the block, if the guard fails or an image would go unverified: a call that ran no step,
                another scheduler or VAE, a ``step`` replaced by other code.
        """
        if on_block not in ("neutral", "raise"):
            raise InputError(f'on_block must be "neutral" or "raise", got {on_block!r}')
        policies = self._policies(policy)
        on_verdicts = None
        if self.audit is not None:
            on_verdicts = partial(self.audit.write, prompts=None, policies=policies, bank=self.bank)
        return Attachment(self._watch(pipe, policies, on_block, on_error, on_verdicts))

    def generate(
        self,
        pipe: Any,
        prompt: str | list[str],
        policy: AnyPolicy | None = None,
        *,
        seed: int | None = None,
        generator: Generators = None,
        on_error: OnError = "close",
        **arguments: Any,
    ) -> GuardedOutput:
        """Run ``pipe(prompt, **arguments)`` under the whole policy, retries included.

        Images that are unsafe at the end are made again, they alone, from noise that is a function of their
        own generator and the number of the retry; after the policy's ``retries`` of these, a blocked image
        is a gray picture. A call of one step cannot be steered on the way: its images, if they are to be
        steered, are pushed at the end, and retried from there in two steps, the first of which only puts noise back.

        With ``seed``, image i has a CPU generator of seed + i, whatever else is in the batch. An image that was
        never touched is, bit for bit, that of the unguarded call. ``on_error`` is that of ``attach``.

        Raises:
            InputError: a bad argument; and what ``attach`` raises.
        """
        request = Request.of(prompt, arguments, seed, generator)
        dropped = words_dropped(longest_context_tokenizer(pipe), request.prompts)
        policies = self._policies(policy)
        watch = self._watch(pipe, policies, "neutral", on_error)
        with Attachment(watch):
            scores = scores_if_asked(watch.scorer, request.prompts, policies.prompt_trigger, on_error)
            retries = Retries(watch, policies, request, Renoise(watch.scorer, watch.latents.space, policies, on_error))
            retries.run(self.model.config.latent_space.factor)
        rows = [request.prompt_of(verdict.image) for verdict in retries.verdicts]
        verdicts = [
            replace(verdict, prompt_words_dropped=dropped[row], prompt=scores[row])
            for verdict, row in zip(retries.verdicts, rows, strict=True)
        ]
        for verdict in verdicts:
            if verdict.decision is Decision.BLOCKED:
                retries.pictures.make_gray(verdict.image)
        if self.audit is not None:
            self.audit.write(verdicts, [request.prompts[row] for row in rows], policies, self.bank)
        return GuardedOutput(retries.pictures.joined(), tuple(verdicts), tuple(watch.checks))

    def _policies(self, policy: AnyPolicy | None) -> Policies:
        return self.policies if policy is None else policies_of(policy)

    def _watch(
        self,
        pipe: Any,
        policies: Policies,
        on_block: OnBlock,
        on_error: OnError,
        on_verdicts: OnVerdicts | None = None,
    ) -> Watch:
        """Everything checked, nothing changed yet."""
        if on_error not in ON_ERROR:
            raise InputError(f'on_error must be "close" or "open", got {on_error!r}')
        for line in idle_categories(policies, self.bank):
            warnings.warn(line, stacklevel=4)
        latents = PipelineLatents.of(pipe, self.model.config.latent_space, self.canary)
        return Watch(pipe, Scorer(self.model, self.bank), latents, policies, on_block, on_error, on_verdicts)


def _bank_of(folder: Path) -> Path:
    """The bank that belongs to a guard folder: in it, or else beside it."""
    places = folder / BANK, folder.absolute().parent / BANK
    for place in places:
        if place.is_dir():
            return place
    raise CheckpointError(
        f"no bank lies in {folder} or beside it; name one with bank=, such as `latent-guard concepts build` makes"
    )
