"""OpenAI's 13 moderation categories, and which of a bank's categories stand for them: a table that ships as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from latent_guard.building import checked
from latent_guard.errors import InputError
from latent_guard.files.documents import read_yaml

CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)
SHIPPED_TABLE = Path(__file__).with_name("categories.yaml")


@dataclass(frozen=True)
class CategoryTable:
    """The bank's categories that stand for each of ``CATEGORIES``; one that has none is not scored."""

    of_bank: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path | str = SHIPPED_TABLE) -> CategoryTable:
        """Read a YAML file: one of OpenAI's categories a key, a list of a bank's categories a value.

        Raises:
            InputError: the file cannot be read, or holds anything else.
        """
        where = f"{path}"
        table = checked(Mapping[str, tuple[str, ...]], read_yaml(path, "the table of categories"), where, "the table")
        if unknown := [name for name in table if name not in CATEGORIES]:
            raise InputError(f"{where}: unknown category {unknown[0]!r}; known are {', '.join(CATEGORIES)}")
        return cls({name: table.get(name, ()) for name in CATEGORIES})
