"""The modules that the rules of this house hold for: the package, and what measures Emoji World."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import latent_guard

PACKAGE = Path(latent_guard.__file__).parent
EMOJI_WORLD = Path(__file__).parents[1] / "benchmarks" / "emoji_world"


def sources() -> Iterator[tuple[str, str]]:
    """Each module's path, in the package or from `emoji_world/` on, and its text."""
    for folder, root in ((PACKAGE, PACKAGE), (EMOJI_WORLD, EMOJI_WORLD.parent)):
        paths = sorted(folder.rglob("*.py"))
        assert paths, f"{folder} holds no source, so that no rule would be looked at"
        for path in paths:
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
