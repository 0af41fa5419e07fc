"""Which tar holds which rows, what is finished, and whose turn it is: the book-keeping of ``encode``.

A part of the source is cut into chunks of as many rows as a tar holds; chunk c of part p is ``part-p-c.tar``, whoever
writes it. So a run can be stopped and gone on with by another number of processes or machines.

encode.json               the settings; a run with others is refused
manifests/end-p.json      {"chunks": n}: part p has been read to its end
index.json, bad.jsonl     written by whoever finishes last

What an earlier run left is not trusted: each worker reads its own share of it once, when it begins (`Plan.take_back`).
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

from latent_guard.bounds import MOST_IMAGES, require_whole
from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_whole
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.sharding import Worker
from latent_guard.training.data.checking import SETTINGS
from latent_guard.training.data.shards import INDEX
from latent_guard.training.data.tar_shards import MANIFESTS, Manifest, check_whole, manifest_path

logger = logging.getLogger(__name__)
BAD = "bad.jsonl"
_READERS = 8  # of finished tars at once
_NAME = re.compile(r"part-(\d{5,})-(\d{5,})")


@dataclass(frozen=True)
class Settings:
    """What every tar of a folder has in common. ``latent_space`` and ``tokenizer`` are plain data."""

    source: str
    parts: int
    vae: str
    latent_space: dict[str, Any]
    tokenizer: dict[str, int]
    dtype: str
    size: int
    rows_per_shard: int
    native_aspect: bool = False  # folders of versions that knew squares alone do not say


@dataclass(frozen=True)
class _End:
    """How many chunks a part has."""

    chunks: int

    def __post_init__(self) -> None:
        require_whole("chunks", self.chunks, 0, MOST_IMAGES)


@dataclass(frozen=True)
class Encoded:
    """What a finished folder, or one being written, holds. ``finished`` is False while others are still at work."""

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
        """Begin a folder, or go on with one; ``command`` is what a reader is told to run where something is damaged.

        Raises:
            InputError: it holds something else, or was begun with other settings.
        """
        path = folder / SETTINGS
        if path.exists():
            _check_same(path, settings)
        elif (folder / INDEX).exists() or any(folder.glob(f"{MANIFESTS}/part-*.json")):
            raise InputError(f"{folder} already holds latent shards; choose another folder or delete it")
        (folder / MANIFESTS).mkdir(parents=True, exist_ok=True)
        write_whole(path, sealed({**asdict(settings), "command": command}))
        return cls(folder, settings)

    def take_back(self, worker: Worker) -> None:
        """Forget every finished tar of this worker's that is not as it was written: it is then made again.

        Raises:
            InputError: something that is no file lies in a file's place.
        """
        for path in (self.folder / MANIFESTS).glob("end-*.json"):
            if _says(path) is None:
                _remove(path)
        names = ((path, _NAME.fullmatch(path.stem)) for path in (self.folder / MANIFESTS).glob("part-*.json"))
        places = [(int(found[1]), int(found[2])) for _, found in sorted(names) if found]
        mine = [self.tar(*place) for place in places if self.is_turn(worker, *place)]
        with ThreadPoolExecutor(_READERS) as readers:
            for tar, wrong in zip(mine, readers.map(_wrong, mine), strict=True):
                if wrong:
                    logger.warning("%s %s; it is made again", tar, wrong)
                    if tar.is_dir():
                        raise InputError(f"{tar} is a folder, where a shard belongs; remove it")
                    _remove(manifest_path(tar))

    def tar(self, part: int, chunk: int) -> Path:
        return self.folder / f"part-{part:05d}-{chunk:05d}.tar"

    def is_turn(self, worker: Worker, part: int, chunk: int) -> bool:
        """Whole parts go round where there are enough; else their chunks do, and each worker reads every part."""
        if self.settings.parts >= worker.count:
            return part % worker.count == worker.index
        return (part + chunk) % worker.count == worker.index

    def is_done(self, part: int, chunk: int) -> bool:
        return manifest_path(self.tar(part, chunk)).exists()

    def first_open(self, worker: Worker, part: int) -> int | None:
        """Where a worker must begin to read a part: its first unfinished chunk. None: nothing is left to this worker.

        All chunks before are finished, whoever wrote them: so the part reaches at least as far.
        """
        end = self._end(part)
        start = next(chunk for chunk in count() if chunk == end or not self.is_done(part, chunk))
        if end is None:
            return start
        mine = (chunk for chunk in range(start, end) if self.is_turn(worker, part, chunk))
        return start if any(not self.is_done(part, chunk) for chunk in mine) else None

    def mark_end(self, part: int, chunks: int) -> None:
        write_whole(self._end_path(part), sealed({"chunks": chunks}))

    def count(self) -> Encoded:
        """What is there so far."""
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
        """As ``count``; where that is everything, write the index and the list of bad rows.

        Raises:
            InputError: everything is there, and not one sample among it.
        """
        counted = self.count()
        if counted.finished:
            known = self._manifests()
            bad = [{"file": tar.name, **row} for tar, manifest in known.items() for row in manifest.bad]
            write_whole(self.folder / BAD, "".join(json.dumps(row) + "\n" for row in bad).encode())
            if not counted.samples:
                raise InputError(f"no row of {self.settings.source} gave a sample; {self.folder / BAD} says why")
            shards = [_entry(tar, manifest) for tar, manifest in known.items() if manifest.samples]
            said = {key: asdict(self.settings)[key] for key in ("latent_space", "dtype", "tokenizer")}
            write_whole(self.folder / INDEX, sealed({**said, "shards": shards}))
        return counted

    def _manifests(self) -> dict[Path, Manifest]:
        """Of every finished tar, without the offsets: those of a whole set are too many to hold."""
        tars = sorted(self.folder / f"{path.stem}.tar" for path in (self.folder / MANIFESTS).glob("part-*.json"))
        found = ((tar, Manifest.read(tar)) for tar in tars)
        return {tar: replace(manifest, offsets=[]) for tar, manifest in found if manifest}

    def _end(self, part: int) -> int | None:
        return _says(self._end_path(part))

    def _end_path(self, part: int) -> Path:
        return self.folder / MANIFESTS / f"end-{part:05d}.json"


def _says(end: Path) -> int | None:
    """How many chunks a part has; None: nobody has read it to its end, or what that one wrote is damaged."""
    try:
        return build(_End, {"chunks": read_sealed(end, "the manifest").get("chunks")}, str(end)).chunks
    except InputError:
        return None


def _wrong(tar: Path) -> str | None:
    """In what a finished tar is not as it was written; of one without a checksum, as far as can be told."""
    try:
        manifest = Manifest.read(tar)
        if manifest and manifest.samples and not manifest.checksum:
            check_whole(tar)
    except InputError as error:
        return f"cannot be trusted ({error})"
    return manifest.checksum.wrong(tar) if manifest and manifest.checksum else None


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
        said = build(Settings, known, str(path))
    except InputError as error:
        raise InputError(
            f"{path} is damaged, so nobody knows what {path.parent} was begun with; delete it, or choose another "
            f"({error})"
        ) from error
    for name in (field.name for field in fields(settings)):
        began, asked = getattr(said, name), getattr(settings, name)
        if began != asked:
            raise InputError(f"{path.parent} was begun with {name} {began}, not {asked}; choose another folder")
