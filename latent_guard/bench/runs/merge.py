"""Shards of a run that were made in folders of their own, put together into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_guard.bench.runs.folder import IMAGES, PARTS, RunFolder, planned_records
from latent_guard.bench.runs.identity import ENVIRONMENT, OF_RUN, SPEC, damage, difference
from latent_guard.bench.runs.plan import Plan, Unit
from latent_guard.bench.spec import Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.errors import InputError
from latent_guard.files.atomic import link_atomic
from latent_guard.files.documents import read_json

FIX = "run its share by `latent-guard bench run` again, or copy it again"


@dataclass(frozen=True, eq=False)
class Shard:
    """A folder with some of a run's calls, and what made them."""

    folder: RunFolder
    environment: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, spec: Spec) -> Shard:
        """
        Raises:
            InputError: the folder holds no run, or one of another spec.
        """
        folder = RunFolder.found(path, spec)
        try:
            environment = read_json(path / ENVIRONMENT, "the environment")
        except InputError:
            environment = None
        if folder is None or not isinstance(environment, dict):
            raise InputError(f"{path} is no run folder: {SPEC} or {ENVIRONMENT} is not there or damaged")
        return cls(folder, environment)


def spec_of(runs: Sequence[Path]) -> Spec:
    """The spec of the first of these folders, which all are to share.

    Raises:
        InputError: a folder is named twice, or the first holds no run.
    """
    places = [run.resolve() for run in runs]
    if twice := [str(run) for run, place in zip(runs, places, strict=True) if places.count(place) > 1]:
        raise InputError(f"{twice[0]} is named twice; name each shard once")
    if not (runs[0] / SPEC).is_file():
        raise InputError(f"{runs[0]} is no run folder: {SPEC} is not there")
    return read_spec(runs[0] / SPEC)


def common_environment(shards: Sequence[Shard]) -> dict[str, Any]:
    """That of all shards; where they may differ (machine, commit), all that was values_of_all.

    Raises:
        InputError: they differ in what images or figures depend on.
    """
    first = shards[0]
    for shard in shards[1:]:
        if key := difference(first.environment, shard.environment):
            raise InputError(
                f"{shard.folder.path} and {first.folder.path} differ in their {key}, so that their images cannot "
                "be counted together; make both with the same, or merge others"
            )
    names = dict.fromkeys(name for shard in shards for name in shard.environment)
    return {name: _values_of([shard.environment.get(name) for shard in shards]) for name in names}


def merge(shards: Sequence[Shard], out: RunFolder, plan: Plan) -> None:
    """Bring every call that a shard holds into ``out``; one that is there already is left as it is.

    A call's part goes last: killed at any point, a merge is resumed.

    Raises:
        InputError: a shard's call is not the plan's, lacks an image, or two shards made it differently.
    """
    for shard in shards:
        if wrong := damage(shard.folder.path, OF_RUN):
            raise InputError(f"{wrong}; {FIX}")
        beside = _files_by_unit(shard.folder.path)
        for unit in plan.units:
            if not shard.folder.is_made(unit):
                continue
            if out.is_made(unit) and out.damage(unit):
                out.forget(unit)
            if out.is_made(unit):
                _check_equal(unit, shard.folder, out)
            else:
                _copy(unit, shard.folder, out, beside[unit.name])


def _copy(unit: Unit, shard: RunFolder, out: RunFolder, beside: Sequence[Path]) -> None:
    records = planned_records(unit, shard)
    files = [*(shard.path / image for image in records["image"]), *beside]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file} is not there, though {unit.name} was made; copy {shard.path} again")
    if wrong := shard.damage(unit):
        raise InputError(f"{wrong}; {FIX}")
    for file in files:
        goal = out.path / file.relative_to(shard.path)
        link_atomic(file, goal)


def _check_equal(unit: Unit, shard: RunFolder, out: RunFolder) -> None:
    """Two shards may hold one call, if it is the same call: its seconds tell."""
    if not planned_records(unit, shard).equals(out.made([unit])):
        raise InputError(
            f"{shard.path} and what {out.path} already holds made {unit.name} each in its own way; "
            "merge shards that have nothing in common, into a new folder"
        )


def _files_by_unit(run: Path) -> dict[str, list[Path]]:
    """Whatever else than images is named after a call, its part last."""
    folders = [folder for folder in sorted(run.iterdir()) if folder.is_dir() and folder.name not in (IMAGES, PARTS)]
    found: dict[str, list[Path]] = {}
    for folder in [*folders, run / PARTS] if (run / PARTS).is_dir() else folders:
        for file in folder.iterdir():
            if file.suffix != ".part":  # what a kill left of one
                found.setdefault(file.stem, []).append(file)
    return found


def _values_of(values: Sequence[Any]) -> Any:
    values_of_all = [value for number, value in enumerate(values) if value not in values[:number] and value is not None]
    return values_of_all[0] if len(values_of_all) == 1 else "; ".join(map(str, values_of_all))
