"""Where the photographs are, where everything that is made of them goes, and how large it is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photographs.sizes import Sizes
from latent_guard.cli.app import command
from latent_guard.errors import InputError

LATENTS, PIXELS, CONTROL, SANA = "taef2", "pixels", "control", "taesana"  # what a model reads
ENCODER, SANA_ENCODER = "taef2_encoder.safetensors", "taesana_encoder.safetensors"
HELD_OUT, VALIDATION = "held-out", "validation"
HOW_TO_GET = (
    "give with --photographs a folder of train-*.parquet and val-*.parquet with the columns image, label (names of "
    "classes) and synonyms (separated by commas); Tiny ImageNet is zh-plus/tiny-imagenet on the hub"
)


@dataclass(frozen=True)
class Workplace:
    """Inputs and outputs of all stages.

    Attributes:
        photographs: folder of parquet files.
        encoder: TAEF2's encoder, of madebyollin's taesd; its decoder and TAESana's encoder lie beside it.
        work: folder of all that is made; nothing of it belongs into the project.
    """

    photographs: Path
    encoder: Path
    work: Path
    sizes: Sizes

    @property
    def training(self) -> list[Path]:
        """The files of training photographs.

        Raises:
            InputError: there are fewer than two; the last is the search's held-out part.
        """
        found = sorted(self.photographs.glob("train-*.parquet"))
        if len(found) < 2:
            raise InputError(f"{self.photographs} holds {len(found)} files of training photographs; {HOW_TO_GET}")
        return found

    @property
    def validation(self) -> Path:
        """The file of validation photographs."""
        if not (found := sorted(self.photographs.glob("val-*.parquet"))):
            raise InputError(f"{self.photographs} holds no validation photographs; {HOW_TO_GET}")
        return found[0]

    def vae(self, reads: str) -> str:
        """What ``latent-guard encode`` takes as ``--vae`` for models that read this."""
        own = {LATENTS: self.encoder, CONTROL: self.control, SANA: self.encoder.with_name(SANA_ENCODER)}
        return str(own.get(reads, reads))

    @property
    def control(self) -> Path:
        """The encoder of the control's autoencoder."""
        return self.work / CONTROL / ENCODER

    def view(self, number: int, part: int) -> Path:
        """The captioned pictures of one view of a part of the training photographs."""
        return self.work / "views" / f"{number}-{part}.parquet"

    def shards(self, reads: str, which: str) -> Path:
        """A folder of shards: ``held-out``, ``validation``, or a view of a part."""
        return self.work / "shards" / reads / which

    @property
    def classes(self) -> Path:
        """The class names and templates that all models are asked with."""
        return self.work / "classes.yaml"


def latent_guard(*words: str | Path) -> None:
    """Run one command of ``latent-guard``, as it would be typed, in this process; it raises what it would say."""
    line = [str(word) for word in words]
    print(f"$ latent-guard {shlex.join(line)}", flush=True)
    tree = command()
    with tree.make_context("latent-guard", line) as context:
        tree.invoke(context)
