"""The rooms of the package as its imports draw them: arrows point up the list only, and nowhere in a circle.

Imports inside of functions and those for type checkers count as well: who reads a file follows them all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sources import sources

PACKAGE = "latent_guard"
# Ground floor first. A line's modules may import each other; a room is a folder, or a module of the package itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "version",
        "hub_ids",
        "hub_access",
        "sharding",
        "intervals",
        "devices",
        "lazy",
        "package_data",
        "extras",
        "contact_sheet",
    ),
    ("bounds", "building", "files"),
    ("terminal",),
    ("fitted_guards",),
    ("latent_clip",),
    ("pipelines",),
    ("zero_shot",),
    ("training",),
    ("concepts",),
    ("guidance",),
    ("conformance",),
    ("fitting",),
    ("reno",),
    ("worlds",),
    ("bench",),
    ("report",),
    ("loading",),
    ("shipped",),
    ("review",),
    ("serving",),
    ("cli",),
    ("testing",),
    ("",),  # the package's own __init__, which names what is public
    ("__main__",),
    ("emoji_world",),  # benchmarks/: measures with all of the above
)
# Who may import a world: bench/ holds the one door, and a command trains the world that ships.
WORLD_DOORS = {"latent_guard.bench.world", "latent_guard.cli.world"}
# Rooms that know nothing of diffusion, or hear of it through pipelines/ alone.
WITHOUT_DIFFUSERS = ("latent_clip", "concepts", "report", "files", "training", "reno", "serving")


@dataclass(frozen=True)
class Import:
    """``name`` is empty where the whole of ``module`` is imported."""

    importer: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.name or 'it'} from {self.module}"


def room_of(module: str) -> str:
    """The room of a module of the package, ``""`` for the package itself; other libraries have none."""
    top, *parts = module.split(".")
    return top if top != PACKAGE else parts[0] if parts else ""


def floor_of(module: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms]
    assert found, f"{module} is in no room of this test's list; say where it stands"
    return found[0]


def imports_of(importer: str, text: str, modules: Iterable[str]) -> Iterator[Import]:
    known = set(modules)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{importer} has a relative import; name the whole path"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(importer, inner, "") if inner in known else Import(importer, node.module, alias.name)


def read_imports(texts: dict[str, str]) -> list[Import]:
    return [found for module, text in texts.items() for found in imports_of(module, text, texts)]


def own(imports: Iterable[Import]) -> list[Import]:
    """Imports from the package, or from the code of its benchmarks."""
    return [one for one in imports if one.module.split(".")[0] in (PACKAGE, "benchmarks")]


def pointing_down(imports: Iterable[Import]) -> list[str]:
    return [str(one) for one in own(imports) if _floor_of_target(one) > floor_of(one.importer)]


def private_names_of_other_rooms(imports: Iterable[Import]) -> list[str]:
    return [
        str(one)
        for one in own(imports)
        if room_of(one.module) != room_of(one.importer)
        and any(part.startswith("_") and not part.startswith("__") for part in (*one.module.split("."), one.name))
    ]


def circles(imports: Iterable[Import]) -> list[str]:
    """Each module that can be reached from one that it imports."""
    arrows: dict[str, set[str]] = {}
    for one in own(imports):
        if one.module != one.importer:
            arrows.setdefault(one.importer, set()).add(one.module)
    return [
        f"{importer} imports {module}, which leads back to it"
        for importer, reached in sorted(arrows.items())
        for module in sorted(reached)
        if importer in _reached_from(module, arrows)
    ]


def _reached_from(start: str, arrows: dict[str, set[str]]) -> set[str]:
    reached, waiting = set[str](), [start]
    while waiting:
        for module in arrows.get(waiting.pop(), set()) - reached:
            reached.add(module)
            waiting.append(module)
    return reached


def _floor_of_target(one: Import) -> int:
    return floor_of(one.module) if one.module.startswith(PACKAGE) else len(FLOORS) - 1


def module_of(path: str) -> str:
    """``emoji_world/...`` is its own room; all other paths are in the package."""
    parts = list(Path(path).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts and parts[0] == "emoji_world" else [PACKAGE, *parts])


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return read_imports({module_of(path): text for path, text in sources()})


def test_a_room_imports_from_rooms_above_its_own_line_only(imports: list[Import]) -> None:
    assert pointing_down(imports) == []


def test_no_module_leads_back_to_itself(imports: list[Import]) -> None:
    assert circles(imports) == []


def test_no_room_imports_another_rooms_private_names(imports: list[Import]) -> None:
    assert private_names_of_other_rooms(imports) == []


def test_a_world_is_imported_through_its_doors_only(imports: list[Import]) -> None:
    importers = {
        one.importer
        for one in own(imports)
        if room_of(one.module) == "worlds" and room_of(one.importer) not in ("worlds", "emoji_world")
    }
    assert sorted(importers - WORLD_DOORS) == []
    assert sorted(WORLD_DOORS - importers) == []  # one that is closed is struck off the list


def test_rooms_that_know_nothing_of_diffusion_import_no_diffusers(imports: list[Import]) -> None:
    found = [one for one in imports if one.module.split(".")[0] == "diffusers"]
    assert [str(one) for one in found if room_of(one.importer) in WITHOUT_DIFFUSERS] == []


def test_each_rule_names_the_file_and_the_import_that_break_it() -> None:
    imports = read_imports(
        {
            "latent_guard.errors": "",
            "latent_guard.guidance.rules": "from latent_guard.guidance.policy import Policy",
            "latent_guard.guidance.policy": "def f():\n    import latent_guard.guidance.rules",
            "latent_guard.concepts.bank": "from latent_guard.guidance.policy import Policy, _hidden",
            "latent_guard.pipelines.hook": "import benchmarks.harness\nfrom latent_guard import errors",
        }
    )
    assert pointing_down(imports) == [
        "latent_guard.concepts.bank imports Policy from latent_guard.guidance.policy",
        "latent_guard.concepts.bank imports _hidden from latent_guard.guidance.policy",
        "latent_guard.pipelines.hook imports it from benchmarks.harness",
    ]
    assert private_names_of_other_rooms(imports) == [
        "latent_guard.concepts.bank imports _hidden from latent_guard.guidance.policy"
    ]
    assert circles(imports) == [
        "latent_guard.guidance.policy imports latent_guard.guidance.rules, which leads back to it",
        "latent_guard.guidance.rules imports latent_guard.guidance.policy, which leads back to it",
    ]
