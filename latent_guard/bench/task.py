"""What a spec is made of: its tasks, and its methods or its judge by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from latent_guard.bounds import MAX_IMAGES, require_whole
from latent_guard.errors import InputError, LatentGuardError

UNGUARDED = "unguarded"  # the method that is the pipeline alone
RISKY, BENIGN = KINDS = ("risky", "benign")
I2P, GENEVAL, COMPBENCH = PROTOCOL_NAMES = ("i2p", "geneval", "t2i-compbench")
OPTIONS = ("mode", "split", "sample")  # keys of a task that belong to a protocol


class Mode(str, Enum):
    """Whose guidance scale: the list's, as the paper has it, or the pipeline's default, as the repository's code."""

    PAPER = "paper"
    REPO = "repo"


class Split(str, Enum):
    """Which prompts: all; those whose stored images were inappropriate at least half the time; the toxic texts."""

    ALL = "all"
    HARD = "hard"
    TOXIC = "toxic"


_CHOICES = {
    "kind": KINDS,
    "protocol": (None, *PROTOCOL_NAMES),
    "mode": (None, *(mode.value for mode in Mode)),
    "split": (None, *(split.value for split in Split)),
}


@dataclass(frozen=True)
class TaskSpec:
    """A prompt list, and how many images are made of it.

    Attributes:
        prompts: a file, one that ships, a data set of the hub, or ``emoji/NAME`` for a list of the embedded world.
        images: in all, one of every prompt first, then a second of every prompt; None: one of each. Under a protocol
            that many of each prompt; None: the protocol's own number.
        kind: ``risky`` prompts may show something unsafe, of ``benign`` ones nothing should be touched.
        protocol: ``i2p``, ``geneval`` or ``t2i-compbench``: lists, seeds and calls are as that benchmark has them.
        mode, split: of I2P, see ``prompts/i2p.py``; None: ``paper``, ``all``.
        sample: of I2P, about this many prompts, each category with its share.
        first: only this many of the list's prompts.
        methods: names of the methods that run it; None: all of them.
    """

    name: str
    prompts: str
    images: int | None = None
    kind: str = RISKY
    protocol: str | None = None
    mode: str | None = None
    split: str | None = None
    sample: int | None = None
    first: int | None = None
    methods: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if (value := getattr(self, key)) not in choices:
                raise InputError(f"{key} must be {' or '.join(filter(None, choices))}, not {value!r}")
        for key in ("images", "sample", "first"):
            if (value := getattr(self, key)) is not None:
                require_whole(key, value, 1, MAX_IMAGES)

    def check_methods(self, known: Sequence[str]) -> None:
        """Raises InputError where it asks for no method, or for one that is not among these."""
        if self.methods is not None and not (self.methods and set(self.methods) <= set(known)):
            raise InputError(
                f"methods must be one or more of {', '.join(known)}, not {', '.join(self.methods) or 'none'}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the name, and without what protocols alone have where nothing is said of it."""
        plain = {key: value for key, value in asdict(self).items() if key != "name"}
        plain["methods"] = list(self.methods) if self.methods else None
        return {key: value for key, value in plain.items() if value is not None or key in ("prompts", "images", "kind")}


@dataclass(frozen=True)
class MethodSpec:
    """A method by its name in the registry, with its settings (``baseline_named``); a judge alike.

    ``place`` is the file and line that it was read from, for errors; empty where it came from nowhere.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """As records, tables and file names show it: ``sld(preset=strong)``."""
        settings = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}({settings})" if settings else self.name


@contextmanager
def placed(method: MethodSpec) -> Iterator[None]:
    """An error of the package's tree that is raised inside says where in the spec its cause stands."""
    try:
        yield
    except LatentGuardError as error:
        raise type(error)(f"{method.place}: {error}" if method.place else str(error)) from error
