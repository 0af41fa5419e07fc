"""The folder of a run: what was asked, what made it, every image, and one record an image.

spec.yaml, environment.json    what is run; a folder is gone on with by the same spec alone
parts/UNIT.parquet             the records of one call, written once all else of it is there
verdicts/UNIT.jsonl            of a call of Latent Guard's, a line an image
looks/UNIT.parquet             what it saw on the way, where it did nothing but look (`observing`)
latents/UNIT.safetensors       of a call, raw, where the spec asks for them (``keep_latents``)
images/NNNNNN.png              by their number in the run
records.parquet, summary.json  all parts together, and the figures
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save

from latent_guard.bench.plan import Unit
from latent_guard.bench.samples import png
from latent_guard.bench.spec import Spec
from latent_guard.building import checked
from latent_guard.documents import read_json
from latent_guard.errors import InputError
from latent_guard.guidance.verdict import Verdict
from latent_guard.whole_files import write_whole, writing

SPEC, ENVIRONMENT, RECORDS, SUMMARY = "spec.yaml", "environment.json", "records.parquet", "summary.json"
PARTS, IMAGES, VERDICTS, LOOKS, LATENTS = "parts", "images", "verdicts", "looks", "latents"
# What an image and its record depend on; of the environment.
SAME = ("bundle", "model", "guard_code", "prompts", "judge", "grader", "methods", "scheduler")
_OF_UNIT = ("arm", "task", "prompt", "prompt_index", "seed")


@dataclass(frozen=True)
class RunFolder:
    """A run that is being made, or is finished."""

    path: Path

    @classmethod
    def open(cls, path: Path, spec: Spec, environment: dict[str, Any]) -> RunFolder:
        """Begin a run, or go on with one.

        Raises:
            InputError: the folder holds another run, or one that differs in what images or figures depend on.
        """
        cls.found(path, spec)
        _check_made_by(path, environment)
        for name in (PARTS, IMAGES, VERDICTS, LOOKS, LATENTS):
            with writing(path):
                (path / name).mkdir(parents=True, exist_ok=True)
        write_whole(path / SPEC, _text_of(spec).encode())
        write_whole(path / ENVIRONMENT, (json.dumps(environment, indent=1) + "\n").encode())
        return cls(path)

    @classmethod
    def found(cls, path: Path, spec: Spec) -> RunFolder | None:
        """The run of this spec that a folder holds, None where it holds none; makes nothing.

        Raises:
            InputError: the folder holds another run.
        """
        file = path / SPEC
        if not file.exists():
            return None
        if file.read_text(encoding="utf-8") != _text_of(spec):
            raise InputError(f"{path} holds a run of another spec (see {file}); choose another folder")
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
        for number, picture in enumerate(pictures, unit.first):
            write_whole(self.path / image_path(number), png(picture))
        if verdicts:
            lines = "".join(verdict.to_json() + "\n" for verdict in verdicts)
            write_whole(self.path / VERDICTS / f"{unit.name}.jsonl", lines.encode())
        if looks is not None:
            write_whole(self._looks(unit), parquet(looks))
        if latents is not None:
            write_whole(self._latents(unit), save({LATENTS: np.ascontiguousarray(latents)}))
        write_whole(self._part(unit), parquet(records))

    def made(self, units: Sequence[Unit]) -> pd.DataFrame:
        """The records of the calls that are made, in the order of the plan.

        ``batch`` says of which call an image is; calls of several methods for the same images have it in common.
        """
        parts = [
            pd.read_parquet(self._part(unit)).assign(batch=unit.name.rpartition("-")[0])
            for unit in units
            if self.is_made(unit)
        ]
        return pd.concat(parts, ignore_index=True).sort_values("row") if parts else pd.DataFrame()

    def verdicts(self, unit: Unit) -> tuple[Verdict, ...]:
        """Those of a call, an image each; none of another method than Latent Guard."""
        file = self.path / VERDICTS / f"{unit.name}.jsonl"
        lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
        return tuple(Verdict.from_json(line) for line in lines if line)

    def looks(self, units: Sequence[Unit]) -> pd.DataFrame:
        """What was seen on the way by methods that do nothing but look, see `observing`; empty without such."""
        files = [self._looks(unit) for unit in units]
        parts = [pd.read_parquet(file) for file in files if file.exists()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def pictures(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """The images of these rows, (N, 3, H, W)."""
        shown = [np.asarray(Image.open(self.path / image_path(row)).convert("RGB")) for row in rows]
        pictures: NDArray[np.uint8] = np.stack(shown).transpose(0, 3, 1, 2)
        return pictures

    def latents(self, unit: Unit) -> NDArray[np.float32]:
        """Those of a call, raw, (B, C, h, w); the spec must have asked for them."""
        latents: NDArray[np.float32] = load_file(self._latents(unit))[LATENTS]
        return latents

    def _part(self, unit: Unit) -> Path:
        return self.path / PARTS / f"{unit.name}.parquet"

    def _looks(self, unit: Unit) -> Path:
        return self.path / LOOKS / f"{unit.name}.parquet"

    def _latents(self, unit: Unit) -> Path:
        return self.path / LATENTS / f"{unit.name}.safetensors"


def _text_of(spec: Spec) -> str:
    text: str = yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True)
    return text


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first of `SAME` that two environments say differently; older ones say nothing of some."""
    return next((key for key in SAME if key in one and key in other and one[key] != other[key]), None)


def planned_records(unit: Unit, folder: RunFolder) -> pd.DataFrame:
    """The records of a call that is made, which are what the plan says.

    Raises:
        InputError: they are damaged, or of another prompt, seed or method.
    """
    try:
        records = folder.made([unit])
        told = records[list(_OF_UNIT)].values.tolist()
        numbers, images = records["row"].tolist(), records["image"].tolist()
    except (ValueError, KeyError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{folder.path}: the part {unit.name} is damaged; copy the folder again") from error
    jobs = [[unit.arm.name, unit.task.name, job.row.prompt, job.index, job.seed] for job in unit.jobs]
    rows = list(range(unit.first, unit.first + len(jobs)))
    if told != jobs or numbers != rows or images != [image_path(row) for row in rows]:
        raise InputError(
            f"{folder.path}: {unit.name} was not made of the prompts that {unit.task.prompts} now holds; "
            "go on where the list is the one that it was made of, or choose another folder"
        )
    return records


def _check_made_by(path: Path, environment: Mapping[str, Any]) -> None:
    """Half of a run by one model and half by another would be figures of neither."""
    file = path / ENVIRONMENT
    before = checked(dict[str, Any], read_json(file, "the environment") if file.exists() else {}, str(file), "it")
    if key := difference(before, environment):
        raise InputError(f"{path} was begun with another {key} (see {file}); choose another folder")


def image_path(row: int) -> str:
    """Where the image of a row lies in its run."""
    return f"{IMAGES}/{row:06d}.png"


def parquet(records: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    records.to_parquet(buffer, index=False)
    return buffer.getvalue()
