"""A block for modular pipelines: it judges what the blocks before it made, for those who compose their own."""

from __future__ import annotations

from typing import Any

from diffusers.modular_pipelines import InputParam, ModularPipelineBlocks, OutputParam, PipelineState

from latent_guard.errors import InputError
from latent_guard.guidance.fail_open import guarded
from latent_guard.guidance.final_check import final_outcome
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.handed_out import record
from latent_guard.guidance.policy_file import AnyPolicy, policies_of
from latent_guard.guidance.scoring import Scorer
from latent_guard.pipelines.latents import PipelineLatents, spread


class SafetyBlock(ModularPipelineBlocks):  # type: ignore[misc]  # diffusers is not typed
    """Put it right before ``decode``: it masks what its policy blocks, and leaves ``verdicts`` in the state.

    ``blocks.sub_blocks.insert("safety", SafetyBlock(guard), list(blocks.sub_blocks).index("decode"))``, and then
    ``blocks.init_pipeline()``. Weaker than ``guard.attach(pipe)``: it steers nothing and ends nothing early, and what a
    block after it changes is not seen. Its verdicts are recorded as those of ``attach`` are.
    """

    model_name = "latent-guard"

    def __init__(self, guard: LatentGuard, policy: AnyPolicy | None = None) -> None:
        super().__init__()
        self._guard, self._policy = guard, policy
        self._known: tuple[Any, PipelineLatents] | None = None  # of the VAE that was compared with the guard's

    def __deepcopy__(self, _: dict[int, Any]) -> SafetyBlock:
        """Pipelines copy their blocks; the guard's models stay one."""
        return SafetyBlock(self._guard, self._policy)

    @property
    def description(self) -> str:
        """For people who print the pipeline."""
        return "Judges the latents that are about to be decoded, and masks those that a policy blocks."

    @property
    def inputs(self) -> list[Any]:
        """What the block reads from the state."""
        return [InputParam("latents", required=True), InputParam("height"), InputParam("width")]

    @property
    def intermediate_outputs(self) -> list[Any]:
        """What the block writes into the state."""
        return [OutputParam("latents"), OutputParam("verdicts", description="One verdict for each image or video.")]

    def __call__(self, components: Any, state: PipelineState) -> tuple[Any, PipelineState]:
        """Judge the state's latents; raises ``GuardError`` where that fails, and ``InputError`` if there are none."""
        given = state.get("latents")
        if given is None:
            raise InputError("there are no latents yet; put the SafetyBlock after the denoising loop")
        with guarded():
            own = self._latents_of(components)
            layout = own.layout.of_size(state.get("height") or 0, state.get("width") or 0)
            # Some families' blocks put tokens in their places at the end of their loop, some before they decode.
            unpacked = layout.family.has_tokens and given.ndim > len(layout.family.axes)
            latents = given if unpacked else layout.unpack(given)
            guard = self._guard
            bank, policies = guard.bank, guard.policies if self._policy is None else policies_of(self._policy)
            scorer = Scorer(guard.model, bank)
            outcome = final_outcome(scorer, own.space.to_raw(latents.float()), policies, 0)
            if outcome.masked.any():
                latents = latents.clone()
                latents[outcome.masked.to(latents.device)] = spread(own.neutral, latents)
                state.set("latents", latents if unpacked else layout.pack(latents))
            state.set("verdicts", outcome.verdicts)
        record(outcome.verdicts, None, policies, bank, guard.audit, events=guard.events)
        return components, state

    def _latents_of(self, pipe: Any) -> PipelineLatents:
        """The latents of a pipeline, compared with the guard's once for each VAE."""
        if self._known is None or self._known[0] is not pipe.vae:
            space = self._guard.model.config.latent_space
            self._known = pipe.vae, PipelineLatents.of(pipe, space, self._guard.canary)
        return self._known[1]
