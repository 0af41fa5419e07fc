"""``python -m latent_guard.testing``: proofs that users run on their own pipeline and guard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latent_guard.bounds import MAX_STEPS
from latent_guard.cli import main
from latent_guard.cli.commands import Commands
from latent_guard.cli.validation import NumImages, Seed, check_request
from latent_guard.terminal import Table, say, status

app = Commands(
    help="Prove on your own pipeline and guard what must hold of any.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def proofs() -> None:
    """Prove on your own pipeline and guard what must hold of any."""


@app.command()
def scale(
    model: Annotated[
        str | None,
        typer.Option(help="Diffusers folder or hub id, shipped-few-step or shipped-flow; by default the shipped one."),
    ] = None,
    guard: Annotated[
        str | None, typer.Option(help="Guard folder or hub id; by default beside the model, or the one fitted to it.")
    ] = None,
    bank: Annotated[
        Path | None, typer.Option(help="Concept bank folder; by default the guard's or beside the model.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="The policy to try, by its name or file; by default the guard's own.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="A prompt that the guard acts on; repeat it. By default a concept of each category."),
    ] = None,
    num_images: NumImages = 1,
    seed: Seed = 0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_STEPS, help="Denoising steps; by default those that the guard was fitted for."),
    ] = None,
) -> None:
    """Multiply the VAE's raw latents, and see whether the guard does the same.

    Exit code 1 where it does not, 2 on bad input.
    """
    from latent_guard.loading import load_guard, load_pipeline, usual_arguments
    from latent_guard.testing.scale import check_scale

    for given in prompt or []:
        check_request(given, num_images, seed)
    asked = {"num_images_per_prompt": num_images, **({"num_inference_steps": steps} if steps else {})}
    with status("loading the models"):
        watcher = load_guard(model, guard, bank, policy)
        arguments = {**usual_arguments(model, guard), **asked}
        pipe = load_pipeline(model, arguments.get("num_inference_steps", 1), num_images)
    prompts = prompt or list({concept.category: concept.prompt for concept in watcher.bank.concepts}.values())
    header = ("times", "images", "other decisions", "other actions", "gray levels", "result")
    table = Table(*header, title="raw latents multiplied", whole=("times", "result"))
    results = []
    with status("generating at each scale"):
        for result in check_scale(pipe, watcher, prompts, seed=seed, **arguments):
            results.append(result)
            factors = ", ".join(f"{factor:g}" for factor in result.factors)
            cells = (factors, result.images, result.other_decisions, result.other_actions, f"{result.difference:.3f}")
            table.add(*cells, "holds" if result.holds else "differs")
    table.show()
    if not all(result.holds for result in results):
        say("the guard does something else in latents of another scale: a length in it is not of normalised latents")
        raise typer.Exit(1)


if __name__ == "__main__":
    main("python -m latent_guard.testing", app)
