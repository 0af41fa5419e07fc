"""Run the code blocks of documents, one after another, each document in a folder of its own within this one.

What they download comes from the hub that ``HF_ENDPOINT`` names. Commands that would train or draw for hours are only
parsed; ``fit`` is too, and its guard is made at once of random weights. A server runs until its document ends. A YAML
block that begins with a file's name is that file, for the blocks after it; others, and JSON, are read as what they are.
"""

from __future__ import annotations

import json
import os
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
from latent_guard.guidance.verdict import Verdict
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_pipeline
from latent_guard.package_data import concepts_folder
from latent_guard.pipelines.canary import Canary
from latent_guard.training.recipe import Recipe
from tests.document_server import Server

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.yaml)\n")
PLACEHOLDER = re.compile(r"[A-Z_]+")
TRAIN = ["accelerate", "launch", "-m", "latent_guard", "train"]
# Cheap on the model that ships: these are run, the others parsed.
RUN = {"generate", "audit summary", "audit verify", "concepts build", "concepts show", "policy check"}
SECRET = "0123456789abcdef" * 4  # what a command that is shown to make a secret makes here
GOLDEN = Path(__file__).parent / "latent_clip" / "golden_small"
# What is put in the place of a download that no stand-in on a hub can have the size of: a file of the same format.
SUBSTITUTES = {"wendlerc/latent-clip-b-8-512-34b-80k": str(GOLDEN)}


def run_document(path: Path) -> None:
    """Raise or exit with what the first block that fails does."""
    text = path.read_text(encoding="utf-8")
    for name, substitute in SUBSTITUTES.items():
        text = text.replace(name, substitute)
    server = None
    for kind, code in BLOCK.findall(text):
        if kind == "sh":
            for line in code.replace("\\\n", " ").splitlines():
                server = _shell(line, server)
        elif kind == "python":
            _execute(code, path.name)
        elif kind == "yaml":
            _yaml(code)
        elif kind == "json":
            Verdict.from_json(code) if '"decision"' in code else json.loads(code)
        else:
            raise ValueError(f"no test knows how to run a block of {kind}")
    if server is not None:
        server.stop()


def _shell(line: str, server: Server | None) -> Server | None:
    """Run a line of shell; the server that runs afterwards."""
    words = shlex.split(line, comments=True)
    if words[:2] == ["latent-guard", "serve"]:
        _parse(words[1:])
        return server or Server(words[2:])
    is_example = any(map(PLACEHOLDER.fullmatch, words))
    if words[:2] == ["latent-guard", "fit"]:
        _parse(words[1:])
        if not is_example:
            _put_guard_for(words[2])
    elif words[:1] == ["latent-guard"]:
        cheap = {words[1], " ".join(words[1:3])} & RUN
        _run(words[1:]) if cheap and not is_example else _parse(words[1:])
    elif words[:5] == TRAIN:
        _parse(words[4:])
    elif words[:1] == ["export"]:
        name, _, value = words[1].partition("=")
        os.environ[name] = SECRET if value.startswith("$(") else value
    elif words[:1] == ["curl"] and server is not None:
        server.ask(line)
    elif words[:2] == ["serve", "run"]:
        print("note: Ray's own command is not run here:", line)
    elif words:
        raise ValueError(f"no test knows how to run {line!r}")
    return server


def _yaml(code: str) -> None:
    """A file by name, a recipe, or else a spec."""
    if named := FILE.match(code):
        Path(named[1]).write_text(code)
        return
    Path("block.yaml").write_text(code)
    Recipe.read(Path("block.yaml")) if code.startswith("data:") else read_spec(Path("block.yaml"))


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
    start, environment = Path.cwd(), dict(os.environ)
    for number, document in enumerate(sys.argv[1:]):
        print(f"== {document}", flush=True)
        folder = start / str(number)
        folder.mkdir()
        os.chdir(folder)
        run_document(Path(document))
        os.environ.clear()
        os.environ.update(environment)
