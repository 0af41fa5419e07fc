"""The guard: the one class that attaches to a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.guidance import telemetry
from latent_guard.guidance.attachment import Attachment
from latent_guard.guidance.decode_gate import DecodeAttachment
from latent_guard.guidance.decode_watch import DecodeWatch
from latent_guard.guidance.fail_open import OnError, on_error_of
from latent_guard.guidance.fitted_for import FittedFor, MismatchWatch
from latent_guard.guidance.guard_card import guard_card
from latent_guard.guidance.guard_folder import CARD, GUARD_FILES, GuardFolder
from latent_guard.guidance.handed_out import record
from latent_guard.guidance.idle_categories import warn_of_idle_categories
from latent_guard.guidance.policy import SAFE, Policies
from latent_guard.guidance.policy_file import AnyPolicy, policies_of
from latent_guard.guidance.prompt_score import scores_if_asked
from latent_guard.guidance.renoise import Renoise
from latent_guard.guidance.retries import Retries
from latent_guard.guidance.run import Check
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import GATES, Decision, Gate, Verdict
from latent_guard.guidance.watch import OnBlock, OnVerdicts, Watch
from latent_guard.latent_clip import hub
from latent_guard.pipelines.call import Generators, Request
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.family_table import require_generates_pictures
from latent_guard.pipelines.latents import Decodes, PipelineLatents
from latent_guard.pipelines.prompt_truncation import longest_context_tokenizer, words_dropped

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.latent_clip.model import LatentCLIP


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
        fitted_for: FittedFor | None = None,
        documents: Mapping[str, str] | None = None,
    ) -> None:
        """A guard of a Latent-CLIP and a concept bank made by it; the model is set to inference.

        A policy is a ``Policy``, the ``Policies`` of several categories, a name ("strict"), or a policy file's path.
        Without a canary the caller vouches that guarded pipelines have the VAE that the model was trained on. Every
        verdict is written into the ``audit`` log before its image is handed out, and is an OpenTelemetry event where
        ``LATENT_GUARD_OTEL=1`` asks for that (the attribute ``events``). Where a pipeline, or its call, is not
        what the guard was ``fitted_for``, the policies say whether it warns or refuses. ``documents`` are what its
        folder holds for people: ``README.md``, ``report.html``, ``report.json``.

        Raises:
            InputError: the bank was made by another model, no policy has that name, or events are asked for
                (``LATENT_GUARD_OTEL``) that cannot be had.
        """
        bank.require_made_by(model)
        self.model = model.eval().requires_grad_(False)
        self.bank = bank
        self.policies = policies_of(policy)
        self.canary = canary
        self.audit = audit
        self.events = telemetry.is_asked_for()  # what that lacks is found out before anything is drawn
        self.fitted_for = fitted_for
        self.documents = dict(documents or {})

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        bank: ConceptBank | Path | str | None = None,
        policy: AnyPolicy | None = None,
        device: torch.device | str = "cpu",
        audit: AuditLog | None = None,
        revision: str | None = None,
    ) -> LatentGuard:
        """Load a guard folder: Latent-CLIP, canary and, where it has them, its own policy and what it was fitted for.

        The bank is by default ``bank/`` in it or beside it, the policy ``policy.yaml`` in it, or else ``SAFE``.

        ``folder`` may be a hub id, ``owner/name``, of a repository laid out as such a folder; its ``revision`` (a
        branch, tag or commit) then is the one that is used, and the log says which commit that was.

        Raises:
            CheckpointError: anything is missing, or is not what was written there.
        """
        asked = None if policy is None else policies_of(policy)
        found = GuardFolder.load(hub.local_folder(folder, GUARD_FILES, revision), bank, device)
        as_it_was_written = asked is None and bank is None
        return cls(
            found.model,
            found.bank,
            asked or found.policies or SAFE,
            found.canary,
            audit,
            found.fitted_for,
            found.documents if as_it_was_written else None,
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the guard into a folder of its own, whole or not at all, in the place of a guard that lies there.

        Raises:
            InputError: it has no canary, something else lies there, or the file system refuses.
        """
        self._folder().save(Path(folder))

    def push_to_hub(self, hub_id: str, private: bool = False) -> str:
        """Publish the guard with its card as ``owner/name``; its address on the hub.

        Log in first, with ``hf auth login`` or a token in ``HF_TOKEN``.

        Raises:
            InputError: not a hub id, it has no canary, or the hub refuses.
        """
        own = self._folder()
        card = guard_card(hub_id, self.fitted_for, self.bank, self.policies, space=self.model.config.latent_space)
        with TemporaryDirectory() as beside:
            folder = Path(beside) / "guard"
            replace(own, documents={CARD: card, **own.documents}).save(folder)
            return hub.upload(folder, hub_id, private, "A guard")

    def _folder(self) -> GuardFolder:
        return GuardFolder(self.model, self.bank, self.canary, self.policies, self.fitted_for, self.documents)

    def require_supported(self, pipe: Any, policy: AnyPolicy | None = None) -> None:
        """Raise what ``attach`` raises at once, for whoever wants to know beforehand; nothing is changed."""
        self._watch(pipe, self._policies(policy), "neutral", "close")

    @overload
    def attach(
        self,
        pipe: Any,
        policy: AnyPolicy | None = ...,
        on_block: OnBlock = ...,
        on_error: OnError | None = ...,
        *,
        gate: Literal["both", "steps"] = ...,
    ) -> Attachment: ...

    @overload
    def attach(
        self,
        pipe: Any,
        policy: AnyPolicy | None = ...,
        on_block: OnBlock = ...,
        on_error: OnError | None = ...,
        *,
        gate: Literal["decode"],
    ) -> DecodeAttachment: ...

    def attach(
        self,
        pipe: Any,
        policy: AnyPolicy | None = None,
        on_block: OnBlock = "neutral",
        on_error: OnError | None = None,
        *,
        gate: Gate = "both",
    ) -> Attachment | DecodeAttachment:
        """``with guard.attach(pipe) as watch: pipe(...)``, then ``watch.verdicts``: flag, steer and block, no retries.

        A blocked image's latent is replaced by a neutral one inside the last step, or, with
        ``on_block="raise"``, the generation ends with ``BlockedError``. The prompt itself is not seen here, so a
        policy's prompt trigger does nothing.

        If the guard itself fails, the generation ends with ``GuardError``. With ``on_error="open"`` it goes on without
        the guard instead: the failure is logged, and the verdicts of its images say ``unchecked``. Without the
        argument the policy's own ``on_error`` holds, which is "close" unless its file says otherwise.

        What is decoded is what was judged: latents that a callback puts in the place of those that the last step
        returned are judged again first. Only ``pipe(...)`` itself is followed to what it returns: a loop of your own
        over the scheduler's steps, or another pipeline with the same scheduler and VAE, is judged at its steps and
        decodes.
        With ``gate="steps"`` what is decoded is not compared with what was judged, which costs nothing for it. With
        ``gate="decode"`` only the decoder is watched: that serves any pipeline whose VAE is the guard's, also one
        whose steps the guard does not know. Pictures are flagged and blocked, never steered, and verdicts say so.
        A call outside the ``with`` block is an error, so that nobody who forgot it takes his images for guarded ones.

        Raises:
            InputError: a bad argument, or a bank calibrated on finished pictures, unless ``gate="decode"``; at once.
            UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type, or videos under a policy that
                steers; at once.
            LatentSpaceMismatchError: another VAE; at once.
            FittedForOtherError: the guard was fitted for another pipeline or scheduler, at once, or for other arguments
                than a call has, or other steps than a loop of your own, before the first step; where the policy
                refuses that, and does not warn.
            GuardError: inside the block, if the guard fails or an image would go unverified: a call that ran no step,
                another scheduler or VAE, a ``step`` replaced by other code.
        """
        if on_block not in ("neutral", "raise"):
            raise InputError(f'on_block must be "neutral" or "raise", got {on_block!r}')
        if gate not in GATES:
            raise InputError(f"gate must be {' or '.join(GATES)}, got {gate!r}")
        policies = self._policies(policy)
        on_error = on_error_of(asked=on_error, by_policy=policies.on_error)
        on_verdicts = self._recorder(policies, on_error)
        mismatch = MismatchWatch(self.fitted_for, policies.on_mismatch)
        if gate == "decode":
            warn_of_idle_categories(policies, self.bank)
            scorer = Scorer(self.model, self.bank)
            raw = Decodes.of(pipe, self.model.config.latent_space, self.canary)
            decodes = DecodeWatch(raw, scorer, policies, on_block, on_error, on_verdicts)
            mismatch.pipeline(pipe)
            return DecodeAttachment(decodes, partial(mismatch.call, pipe))
        watch = self._watch(pipe, policies, on_block, on_error, on_verdicts, gate)
        mismatch.pipeline(pipe)
        return Attachment(watch, partial(mismatch.call, pipe), partial(mismatch.schedule, pipe))

    def generate(
        self,
        pipe: Any,
        prompt: str | list[str],
        policy: AnyPolicy | None = None,
        *,
        seed: int | None = None,
        generator: Generators = None,
        on_error: OnError | None = None,
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
        require_generates_pictures(pipe)
        request = Request.of(prompt, arguments, seed, generator)
        dropped = words_dropped(longest_context_tokenizer(pipe), request.prompts)
        policies = self._policies(policy)
        on_error = on_error_of(asked=on_error, by_policy=policies.on_error)
        bank = self.bank  # what judges this call, whatever bank the guard is given meanwhile
        watch = self._watch(pipe, policies, "neutral", on_error)
        mismatch = MismatchWatch(self.fitted_for, policies.on_mismatch)
        mismatch.pipeline(pipe)
        mismatch.call(pipe, arguments)
        with Attachment(watch):
            scores = scores_if_asked(watch.scorer, request.prompts, policies.prompt_trigger, on_error)
            retries = Retries(watch, policies, request, Renoise(watch.scorer, watch.latents.space, policies, on_error))
            retries.run()
        rows = [request.prompt_of(verdict.image) for verdict in retries.verdicts]
        verdicts = [
            replace(verdict, prompt_words_dropped=dropped[row], prompt=scores[row])
            for verdict, row in zip(retries.verdicts, rows, strict=True)
        ]
        for verdict in verdicts:
            if verdict.decision is Decision.BLOCKED:
                retries.pictures.make_gray(verdict.image)
        asked = [request.prompts[row] for row in rows]
        record(verdicts, asked, policies, bank, self.audit, on_error, events=self.events)
        return GuardedOutput(retries.pictures.joined(), tuple(verdicts), tuple(watch.checks))

    def _recorder(self, policies: Policies, on_error: OnError) -> OnVerdicts:
        """What records the verdicts of calls whose prompts are not seen."""
        to = partial(record, bank=self.bank, audit=self.audit, events=self.events)
        return partial(to, prompts=None, policies=policies, on_error=on_error)

    def _policies(self, policy: AnyPolicy | None) -> Policies:
        return self.policies if policy is None else policies_of(policy)

    def _watch(
        self,
        pipe: Any,
        policies: Policies,
        on_block: OnBlock,
        on_error: OnError,
        on_verdicts: OnVerdicts | None = None,
        gate: Gate = "both",
    ) -> Watch:
        """Everything checked, nothing changed yet."""
        warn_of_idle_categories(policies, self.bank)
        self.bank.require_known_at_steps()
        latents = PipelineLatents.of(pipe, self.model.config.latent_space, self.canary)
        if latents.layout.family.video and policies.pushes:
            raise UnsupportedPipelineError(
                'steering of videos has not been measured, so it is refused: give policy="block" or policy="flag"'
            )
        return Watch(pipe, Scorer(self.model, self.bank), latents, policies, on_block, on_error, on_verdicts, gate)
