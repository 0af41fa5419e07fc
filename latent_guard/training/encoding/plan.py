"""The plan of ``encode``: which tar holds which rows, which tars are finished, and which worker writes which.

A part of the source is cut into chunks of as many rows as a tar holds; chunk c of part p is ``part-p-c.tar``, whichever
worker writes it. So a stopped run can be resumed by another number of processes or machines.

encode.json               the settings; a run with other settings is refused
manifests/end-p.json      {"chunks": n}: part p has been read to its end
index.json, bad.jsonl     written by the worker that finishes last

Files of an earlier run are not trusted: each worker reads its own ones once, when it begins
(``Plan.discard_damaged``).
"""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

from latent_guard.bounds import MAX_IMAGES, require_whole
from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.sharding import Worker
from latent_guard.training.data.checking import SETTINGS
from latent_guard.training.data.shards import INDEX
from latent_guard.training.data.tar_shards import MANIFESTS, Manifest, check_whole, manifest_path

logger = logging.getLogger(__name__)
BAD = "bad.jsonl"
_READERS = 8  # threads that check finished tars
_NAME = re.compile(r"part-(\d{5,})-(\d{5,})")


@dataclass(frozen=True)
class Settings:
    """The settings that all tars of a folder share. ``latent_space`` and ``tokenizer`` are plain data."""

    source: str
    parts: int
    vae: str
    latent_space: dict[str, Any]
    tokenizer: dict[str, int]
    dtype: str
    size: int
    rows_per_shard: int
    native_aspect: bool = False  # missing in folders of versions that only cut squares


@dataclass(frozen=True)
class _End:
    """The end of a part: its number of chunks."""

    chunks: int

    def __post_init__(self) -> None:
        require_whole("chunks", self.chunks, 0, MAX_IMAGES)


@dataclass(frozen=True)
class Encoded:
    """The contents of a folder; ``finished`` is False while other workers are still writing."""

    samples: int
    shards: int
    bad: int
    finished: bool


@dataclass(frozen=True)
class Plan:
    """A folder that is being written into."""

    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path, settings: Settings, command: str = "") -> Plan:
        """Begin a folder, or resume one; ``command`` is the command that a message about damaged files names.

        Raises:
            InputError: the folder holds something else, or was begun with other settings.
        """
        path = folder / SETTINGS
        if path.exists():
            _check_same(path, settings)
        elif (folder / INDEX).exists() or any(folder.glob(f"{MANIFESTS}/part-*.json")):
            raise InputError(f"{folder} already holds latent shards; choose another folder or delete it")
        (folder / MANIFESTS).mkdir(parents=True, exist_ok=True)
        write_atomic(path, sealed({**asdict(settings), "command": command}))
        return cls(folder, settings)

    def discard_damaged(self, worker: Worker) -> None:
        """Discard every finished tar of this worker's that is not as it was written, so that it is made again.

        Raises:
            InputError: there is a folder in a file's place.
        """
        for path in (self.folder / MANIFESTS).glob("end-*.json"):
            if _chunks(path) is None:
                _remove(path)
        names = ((path, _NAME.fullmatch(path.stem)) for path in (self.folder / MANIFESTS).glob("part-*.json"))
        places = [(int(match[1]), int(match[2])) for _, match in sorted(names) if match]
        tars = [self.tar(*place) for place in places if self.is_turn(worker, *place)]
        with ThreadPoolExecutor(_READERS) as readers:
            for tar, problem in zip(tars, readers.map(_problem, tars), strict=True):
                if problem:
                    logger.warning("%s %s; it is made again", tar, problem)
                    if tar.is_dir():
                        raise InputError(f"{tar} is a folder, where a shard belongs; remove it")
                    _remove(manifest_path(tar))

    def tar(self, part: int, chunk: int) -> Path:
        return self.folder / f"part-{part:05d}-{chunk:05d}.tar"

    def is_turn(self, worker: Worker, part: int, chunk: int) -> bool:
        """Whether a worker writes a chunk: parts are dealt out whole if there are enough, else chunk by chunk."""
        if self.settings.parts >= worker.count:
            return part % worker.count == worker.index
        return (part + chunk) % worker.count == worker.index

    def is_done(self, part: int, chunk: int) -> bool:
        return manifest_path(self.tar(part, chunk)).exists()

    def first_open(self, worker: Worker, part: int) -> int | None:
        """The first unfinished chunk of a part, from which a worker must read it; None if it has nothing left to write.

        All chunks before it are finished, by whichever worker, so the part reaches at least as far.
        """
        end = self._end(part)
        start = next(chunk for chunk in count() if chunk == end or not self.is_done(part, chunk))
        if end is None:
            return start
        chunks = (chunk for chunk in range(start, end) if self.is_turn(worker, part, chunk))
        return start if any(not self.is_done(part, chunk) for chunk in chunks) else None

    def mark_end(self, part: int, chunks: int) -> None:
        write_atomic(self._end_path(part), sealed({"chunks": chunks}))

    def count(self) -> Encoded:
        """Count the samples, shards and bad rows so far."""
        known = self._manifests()
        ends = [self._end(part) for part in range(self.settings.parts)]
        expected = (self.tar(part, chunk) for part, end in enumerate(ends) for chunk in range(end or 0))
        return Encoded(
            samples=sum(manifest.samples for manifest in known.values()),
            shards=sum(manifest.samples > 0 for manifest in known.values()),
            bad=sum(len(manifest.bad) for manifest in known.values()),
            finished=None not in ends and all(tar in known for tar in expected),
        )

    def finish(self) -> Encoded:
        """Write the index and the list of bad rows if every chunk is finished; returns ``count()``.

        Raises:
            InputError: every chunk is finished, and there is no sample.
        """
        counted = self.count()
        if counted.finished:
            known = self._manifests()
            bad = [{"file": tar.name, **row} for tar, manifest in known.items() for row in manifest.bad]
            write_atomic(self.folder / BAD, "".join(json.dumps(row) + "\n" for row in bad).encode())
            if not counted.samples:
                raise InputError(f"no row of {self.settings.source} gave a sample; {self.folder / BAD} says why")
            shards = [_entry(tar, manifest) for tar, manifest in known.items() if manifest.samples]
            settings = {key: asdict(self.settings)[key] for key in ("latent_space", "dtype", "tokenizer")}
            write_atomic(self.folder / INDEX, sealed({**settings, "shards": shards}))
        return counted

    def _manifests(self) -> dict[Path, Manifest]:
        """The manifest of every finished tar, without its offsets: those of a whole set need too much memory."""
        tars = sorted(self.folder / f"{path.stem}.tar" for path in (self.folder / MANIFESTS).glob("part-*.json"))
        manifests = ((tar, Manifest.read(tar)) for tar in tars)
        return {tar: replace(manifest, offsets=[]) for tar, manifest in manifests if manifest}

    def _end(self, part: int) -> int | None:
        return _chunks(self._end_path(part))

    def _end_path(self, part: int) -> Path:
        return self.folder / MANIFESTS / f"end-{part:05d}.json"


def _chunks(end: Path) -> int | None:
    """Read a part's number of chunks; None if it has not been read to its end, or the file is damaged."""
    try:
        return build(_End, {"chunks": read_sealed(end, "the manifest").get("chunks")}, str(end)).chunks
    except InputError:
        return None


def _problem(tar: Path) -> str | None:
    """Describe the damage to a finished tar; None if it is as it was written, or has no checksum and is complete."""
    try:
        manifest = Manifest.read(tar)
        if manifest and manifest.samples and not manifest.checksum:
            check_whole(tar)
    except InputError as error:
        return f"cannot be trusted ({error})"
    return manifest.checksum.problem(tar) if manifest and manifest.checksum else None


def _remove(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, where a file belongs; remove it")
    path.unlink(missing_ok=True)


def _entry(tar: Path, manifest: Manifest) -> dict[str, Any]:
    checksum = asdict(manifest.checksum) if manifest.checksum else {}
    return {"file": tar.name, "samples": manifest.samples, **checksum}


def _check_same(path: Path, settings: Settings) -> None:
    try:
        stored = read_sealed(path, "the settings")
        known = {field.name: stored[field.name] for field in fields(settings) if field.name in stored}
        begun_with = build(Settings, known, str(path))
    except InputError as error:
        raise InputError(
            f"{path} is damaged, so the settings of {path.parent} are unknown; delete it, or choose another folder "
            f"({error})"
        ) from error
    for name in (field.name for field in fields(settings)):
        before = getattr(begun_with, name)
        now = getattr(settings, name)
        if before != now:
            raise InputError(f"{path.parent} was begun with {name} {before}, not {now}; choose another folder")
