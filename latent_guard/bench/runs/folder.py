"""The folder of a run: what was asked, what made it, every image, and one record an image.

spec.yaml, environment.json    what is run; a folder is resumed by the same spec alone
parts/UNIT.parquet             the records of one call, written once all else of it is there
verdicts/UNIT.jsonl            of a call of Latent Guard's, a line an image
looks/UNIT.parquet             what it saw on the way, where it did nothing but look (`check_accuracy`)
latents/UNIT.safetensors       of a call, raw, where the spec asks for them (``keep_latents``)
images/NNNNNN.png              by their number in the run
records.parquet, summary.json  all parts together, and the figures
checksums/                     of all of these, see `runs/identity.py`
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from latent_guard.bench.runs.identity import (
    ENVIRONMENT,
    OF_RUN,
    SPEC,
    damage,
    read_checksums,
    require_made_by,
    require_spec,
    text_of,
    write_checksums,
)
from latent_guard.bench.runs.plan import Unit
from latent_guard.bench.spec import Spec
from latent_guard.errors import InputError, reason_of
from latent_guard.files.atomic import write_atomic, writing
from latent_guard.files.documents import read_text
from latent_guard.files.images import opened_picture
from latent_guard.files.plain import require_plain
from latent_guard.files.png import png_of_array
from latent_guard.files.tables import parquet, read_table
from latent_guard.guidance.verdict import Verdict

RECORDS, SUMMARY = "records.parquet", "summary.json"
PARTS, IMAGES, VERDICTS, LOOKS, LATENTS = "parts", "images", "verdicts", "looks", "latents"
FIX = "run the same `latent-guard bench run` again, which makes it anew"
_OF_UNIT = ("method", "task", "prompt", "prompt_index", "seed")


@dataclass(frozen=True)
class RunFolder:
    """A run that is being made, or is finished."""

    path: Path

    @classmethod
    def open(cls, path: Path, spec: Spec, environment: dict[str, Any]) -> RunFolder:
        """Begin a run, or resume one.

        Raises:
            InputError: the folder holds another run, or one that differs in what images or figures depend on.
        """
        cls.found(path, spec)
        require_made_by(path, environment)
        files = {SPEC: text_of(spec).encode(), ENVIRONMENT: (json.dumps(environment, indent=1) + "\n").encode()}
        write_checksums(path, OF_RUN, files, environment=environment)
        for file, content in files.items():
            write_atomic(path / file, content)
        with writing(path):
            for name in (PARTS, IMAGES, VERDICTS, LOOKS, LATENTS):
                (path / name).mkdir(exist_ok=True)
        return cls(path)

    @classmethod
    def found(cls, path: Path, spec: Spec) -> RunFolder | None:
        """The run of this spec that a folder holds, None where it holds none; makes nothing.

        Raises:
            InputError: the folder holds another run, or one whose spec is damaged and nothing else tells it.
        """
        if not (path / SPEC).exists() and not any(path.glob(f"{PARTS}/*")):
            return None
        require_spec(path, spec)
        return cls(path)

    def is_made(self, unit: Unit) -> bool:
        return self._part(unit).exists()

    def keep(
        self,
        unit: Unit,
        records: pd.DataFrame,
        pictures: NDArray[np.uint8],
        verdicts: Sequence[Verdict] = (),
        looks: pd.DataFrame | None = None,
        latents: NDArray[np.float32] | None = None,
    ) -> None:
        """Write a call's images (B, 3, H, W), then its records: a kill in between costs this call and no other."""
        files = {image_path(number): png_of_array(picture) for number, picture in enumerate(pictures, unit.first)}
        if verdicts:
            lines = "".join(verdict.to_json() + "\n" for verdict in verdicts)
            files[f"{VERDICTS}/{unit.name}.jsonl"] = lines.encode()
        if looks is not None:
            files[f"{LOOKS}/{unit.name}.parquet"] = parquet(looks)
        if latents is not None:
            files[f"{LATENTS}/{unit.name}.safetensors"] = save({LATENTS: np.ascontiguousarray(latents)})
        files[f"{PARTS}/{unit.name}.parquet"] = parquet(records)
        write_checksums(self.path, unit.name, files)
        for file, content in files.items():
            write_atomic(self.path / file, content)

    def damage(self, unit: Unit) -> str | None:
        """What is wrong with the files of a call that is made; of one without checksums, with those it must have."""
        if (wrong := damage(self.path, unit.name)) or read_checksums(self.path, unit.name) is not None:
            return wrong
        try:
            self.made([unit])
            self.verdicts(unit)
            self.looks([unit])
            self.pictures(range(unit.first, unit.first + len(unit.jobs)))
            if self._latents(unit).exists():
                self.latents(unit)
        except InputError as error:
            return str(error)
        return None

    def forget(self, unit: Unit) -> None:
        """Take a call for one that is not made yet.

        Raises:
            InputError: its part is a folder.
        """
        if self._part(unit).is_dir():
            raise InputError(f"{self._part(unit)} is a folder, where a file belongs; remove it")
        self._part(unit).unlink(missing_ok=True)

    def made(self, units: Sequence[Unit]) -> pd.DataFrame:
        """The records of the calls that are made, in the order of the plan.

        ``batch`` says of which call an image is; calls of several methods for the same images have it in common.
        """
        parts = [
            read_table(self._part(unit)).assign(batch=unit.name.rpartition("-")[0])
            for unit in units
            if self.is_made(unit)
        ]
        return pd.concat(parts, ignore_index=True).sort_values("row") if parts else pd.DataFrame()

    def verdicts(self, unit: Unit) -> tuple[Verdict, ...]:
        """Those of a call, an image each; none of another method than Latent Guard."""
        file = self.path / VERDICTS / f"{unit.name}.jsonl"
        lines = read_text(file, "the verdicts").split("\n") if file.exists() else []
        try:
            return tuple(Verdict.from_json(line) for line in lines if line)
        except (InputError, RecursionError) as error:
            raise InputError(f"{file} is damaged ({reason_of(error)}); {FIX}") from error

    def looks(self, units: Sequence[Unit]) -> pd.DataFrame:
        """What was seen on the way by methods that do nothing but look, see `check_accuracy`; empty without such."""
        files = [self._looks(unit) for unit in units]
        parts = [read_table(file) for file in files if file.exists()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def pictures(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """The images of these rows, (N, 3, H, W).

        Raises:
            InputError: one is damaged or missing, or of another size than the others.
        """
        shown = [_picture(self.path / image_path(row)) for row in rows]
        if odd := [row for row, picture in zip(rows, shown, strict=True) if picture.shape != shown[0].shape]:
            raise InputError(f"{self.path / image_path(odd[0])} is of another size than the images before it; {FIX}")
        pictures: NDArray[np.uint8] = np.stack(shown).transpose(0, 3, 1, 2)
        return pictures

    def latents(self, unit: Unit) -> NDArray[np.float32]:
        """Those of a call, raw, (B, C, h, w); the spec must have asked for them."""
        try:
            require_plain(self._latents(unit))
            latents: NDArray[np.float32] = load_file(self._latents(unit))[LATENTS]
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{self._latents(unit)} is missing or damaged; {FIX}") from error
        return latents

    def _part(self, unit: Unit) -> Path:
        return self.path / PARTS / f"{unit.name}.parquet"

    def _looks(self, unit: Unit) -> Path:
        return self.path / LOOKS / f"{unit.name}.parquet"

    def _latents(self, unit: Unit) -> Path:
        return self.path / LATENTS / f"{unit.name}.safetensors"


def planned_records(unit: Unit, folder: RunFolder) -> pd.DataFrame:
    """The records of a call that is made, which are what the plan says.

    Raises:
        InputError: they are damaged, or of another prompt, seed or method.
    """
    try:
        records = folder.made([unit])
        told = records[list(_OF_UNIT)].values.tolist()
        numbers, images = records["row"].tolist(), records["image"].tolist()
    except (InputError, KeyError) as error:
        raise InputError(f"{folder.path}: the part {unit.name} is damaged; copy the folder again") from error
    jobs = [[unit.method.label, unit.task.name, job.row.prompt, job.index, job.seed] for job in unit.jobs]
    rows = list(range(unit.first, unit.first + len(jobs)))
    if told != jobs or numbers != rows or images != [image_path(row) for row in rows]:
        raise InputError(
            f"{folder.path}: {unit.name} was not made of the prompts that {unit.task.prompts} now holds; "
            "go on where the list is the one that it was made of, or choose another folder"
        )
    return records


def _picture(path: Path) -> NDArray[np.uint8]:
    try:
        with opened_picture(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except InputError as error:
        raise InputError(f"{path}: {error}; {FIX}") from error


def image_path(row: int) -> str:
    """Where the image of a row lies in its run."""
    return f"{IMAGES}/{row:06d}.png"
