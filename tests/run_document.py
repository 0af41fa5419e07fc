"""Run the code blocks of a document, in the folder that this is started in: shell commands first, then Python.

What they download comes from the hub that ``HF_ENDPOINT`` names. Of ``docs/`` the shell commands, which would train or
draw for hours, are only parsed; so is ``fit``, whose guard is made at once of random weights.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
import typer

from latent_guard.bench.spec_file import read_spec
from latent_guard.cli import main
from latent_guard.cli.app import command
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import read_prompt_sets
from latent_guard.fitted_guards import place_of
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_pipeline
from latent_guard.package_data import concepts_folder
from latent_guard.pipelines.canary import Canary
from latent_guard.training.recipe import Recipe

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GOLDEN = Path(__file__).parent / "latent_clip" / "golden_small"
# What is put in the place of a download that no stand-in on a hub can have the size of: a file of the same format.
SUBSTITUTES = {"wendlerc/latent-clip-b-8-512-34b-80k": str(GOLDEN)}


def run_document(path: Path) -> None:
    """Raise or exit with what the first block that fails does."""
    text = path.read_text(encoding="utf-8")
    for name, substitute in SUBSTITUTES.items():
        text = text.replace(name, substitute)
    blocks = [(kind, code) for kind, code in BLOCK.findall(text)]
    for line in (line for kind, code in blocks if kind == "sh" for line in code.splitlines()):
        words = shlex.split(line, comments=True)
        if words[:1] == ["latent-guard"]:
            if words[1] == "fit":
                _parse(words[1:])
                _put_guard_for(words[2])
            elif path.name == "README.md":
                _run(words[1:])
            else:
                _parse(words[1:])
        elif words[:5] == ["accelerate", "launch", "-m", "latent_guard", "train"]:
            _parse(words[4:])
        elif words:
            raise ValueError(f"no test knows how to run {line!r}")
    for kind, code in blocks:
        if kind == "python":
            _execute(code, path.name)
        elif kind == "yaml":
            Path("block.yaml").write_text(code)
            Recipe.read(Path("block.yaml")) if code.startswith("data:") else read_spec(Path("block.yaml"))
        elif kind != "sh":
            raise ValueError(f"no test knows how to run a block of {kind}")


def _run(arguments: list[str]) -> None:
    print("$ latent-guard", *arguments, flush=True)
    sys.argv = ["latent-guard", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code not in (0, 3):
            raise


def _parse(arguments: list[str]) -> None:
    """Every option and argument is one that the command has, with a value that it takes."""
    tree: Any = command()
    context = tree.make_context("latent-guard", arguments)
    while isinstance(tree, typer.core.TyperGroup):
        name, tree, arguments = tree.resolve_command(context, arguments)
        context = tree.make_context(name, arguments, parent=context)


def _put_guard_for(model: str) -> None:
    """What lies in the user's data folder after a fit of SDXL Turbo with four steps."""
    picture = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    pipe = load_pipeline(model, 4, 1)
    clip = LatentCLIP.from_official(GOLDEN)
    guard = LatentGuard(
        clip,
        ConceptBank.build(clip, read_prompt_sets(concepts_folder("i2p"))),
        canary=Canary.made_by(pipe.vae, picture),
        fitted_for=FittedFor.of(pipe, model, {"num_inference_steps": 4, "guidance_scale": 0.0}, (0.95, 0.4)),
    )
    guard.save_pretrained(place_of(model))


def _execute(code: str, name: str) -> None:
    print(code, flush=True)
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(code, name, "exec"), names)
    for key, test in list(names.items()):
        if key.startswith("test_"):
            test()


if __name__ == "__main__":
    run_document(Path(sys.argv[1]))
