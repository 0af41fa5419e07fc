"""``latent-guard doctor``: can this pipeline be guarded, where, and by which guard; with proofs on the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.cli.validation import assignment
from latent_guard.errors import InputError, LatentGuardError, UnsupportedPipelineError, reason_of
from latent_guard.terminal import Table, say, status

if TYPE_CHECKING:
    from latent_guard.conformance import Proof

STEPS, IMAGES = 3, 2
PROMPTS = ("a photo of a cat", "a photo of a house")


def doctor(
    model: Annotated[str, typer.Argument(help="Diffusers folder or hub id, or a shipped model.")],
    guard: Annotated[str | None, typer.Option(help="Guard; by default the one fitted to the model.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the pipeline's call: guidance_scale=0.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Generate two images in three steps, some ten times.")] = True,
) -> None:
    """Say how a pipeline can be guarded, and prove it. Exit code 1 if a proof fails, 2 if it cannot be guarded."""
    from latent_guard.loading import load_pipeline, usual_arguments

    own = dict(assignment(given, "--set") for given in set_ or [])
    with status("loading the pipeline"):
        arguments = {**usual_arguments(model, guard), **own, "num_inference_steps": STEPS}
        pipe = load_pipeline(model, STEPS, IMAGES, of_any_kind=True)
    table = Table("what", "found", title=f"{type(pipe).__name__}, {model}", whole=("what",))
    found = dict(_found(pipe))
    for name, words in found.items():
        table.add(name, words)
    table.add("guard", _guard_of(model, guard))
    table.show()
    if not dry_run:
        return
    pipe.set_progress_bar_config(disable=True)
    with status("generating"):
        proofs = _proofs(pipe, arguments, decoder_alone=found["steps"] != "known")
    shown = Table("proof", "result", title=f"two images in {STEPS} steps", whole=("proof",))
    for proof in proofs:
        shown.add(proof.name, proof.failure or "holds")
    shown.show()
    if not all(proof.holds for proof in proofs):
        say("a proof failed: do not rely on a guard of this pipeline")
        raise typer.Exit(1)


def _found(pipe: Any) -> list[tuple[str, str]]:
    """What is known of a pipeline; raises ``UnsupportedPipelineError`` where no gate can be put up."""
    from latent_guard.latent_clip.latent_space import LatentSpace
    from latent_guard.pipelines.family_table import family_of
    from latent_guard.pipelines.schedulers import require_supported
    from latent_guard.pipelines.tiny_vae import is_tiny

    if getattr(pipe, "vae", None) is None:
        raise UnsupportedPipelineError(f"{type(pipe).__name__} has no VAE: it makes no latents that could be guarded")
    if is_tiny(pipe.vae):
        raise UnsupportedPipelineError(
            "the pipeline has an AutoencoderTiny in the place of its VAE, which only a guard with a canary can judge: "
            "guard.attach(pipe) says whether; ask doctor about the pipeline with its own VAE"
        )
    space = LatentSpace.of_vae(pipe.vae)
    lines = [("latent space", str(space))]
    try:
        family = family_of(pipe)
        own = family.space_of(pipe.vae)
        family.require_readable(pipe, own)
        lines.append(("latents at a step", family.in_words(own)))
        require_supported(pipe.scheduler)
        lines += [("scheduler", f"{type(pipe.scheduler).__name__}, known"), ("steps", "known")]
    except UnsupportedPipelineError as error:
        lines.append(("steps", f"not known: {error}"))
    alone = 'decoder alone: guard.attach(pipe, gate="decode")'
    return [*lines, ("gate", "steps and decoder" if lines[-1] == ("steps", "known") else alone)]


def _guard_of(model: str, guard: str | None) -> str:
    """Which guard would be used, or what would make one."""
    from latent_guard.loading import guard_folder

    try:
        return str(guard_folder(model, guard))
    except InputError as error:
        return f"none: {error}"


def _proofs(pipe: Any, arguments: dict[str, Any], *, decoder_alone: bool) -> list[Proof]:
    from latent_guard.conformance import check_conformance, check_decode_gate
    from latent_guard.pipelines.call import generators_from_seed
    from latent_guard.pipelines.images import images_of
    from latent_guard.pipelines.modular import is_modular

    def call(pipe: Any, **changes: Any) -> Any:
        own = {"prompt": list(PROMPTS), "generator": generators_from_seed(0, IMAGES), "output_type": "np"}
        made = {**arguments, **own, **changes}
        return pipe(**{"output": "images", **made}) if is_modular(pipe) else images_of(pipe(**made))

    try:
        return check_decode_gate(pipe, call) if decoder_alone else check_conformance(pipe, call)
    except LatentGuardError:
        raise
    except Exception as error:  # whatever a pipeline raises for arguments that it wants
        raise InputError(
            f"the dry run ended with {reason_of(error)}; give what the pipeline wants with --set NAME=VALUE, "
            "or leave the run out with --no-dry-run"
        ) from error
