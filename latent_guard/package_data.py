"""Names of the models that ship, and the places of the data that ships (in a wheel, inside the package)."""

from __future__ import annotations

from pathlib import Path

from latent_guard.errors import InputError

# What a command or a spec calls the models that ship: the text-to-image model, the one distilled from it, and a
# rectified-flow transformer.
SHIPPED, SHIPPED_FEW_STEP, SHIPPED_FLOW = "shipped", "shipped-few-step", "shipped-flow"
SHIPPED_MODELS = (SHIPPED, SHIPPED_FEW_STEP, SHIPPED_FLOW)

PACKAGE = Path(__file__).parent

# Guards of latent spaces that people use, which ship without a pipeline, by what a command calls them.
SHIPPED_FLUX2 = "shipped-flux2"
SHIPPED_GUARDS = {SHIPPED_FLUX2: PACKAGE / "worlds" / "photographs" / "guard"}
_HOMES = (PACKAGE / "data", PACKAGE.parent)


def concepts_folder(name: str) -> Path:
    """Folder of prompt sets, one YAML file a category: ``concepts_folder("emoji_world")``.

    Raises:
        InputError: no such folder ships.
    """
    return _find("concepts", name)


def everyday_list() -> Path:
    """Path of the everyday prompts that a guard is fitted on by default, a CSV file."""
    return _find("concepts", "everyday") / "prompts.csv"


def benchmark_spec(name: str) -> Path:
    """Path of the spec ``benchmarks/NAME.yaml``.

    Raises:
        InputError: no such spec ships.
    """
    return _find("benchmarks", f"{name}.yaml")


def benchmark_specs() -> list[str]:
    """Names of the specs that ship."""
    return sorted({path.stem for home in _HOMES for path in (home / "benchmarks").glob("*.yaml")})


def benchmark_list(name: str) -> Path:
    """Path of a prompt list that ships: ``benchmark_list("emoji-i2p.csv")``.

    Raises:
        InputError: no such list ships.
    """
    return _find("benchmarks", name)


def benchmark_lists() -> list[str]:
    """File names of the prompt lists that ship."""
    return sorted({path.name for home in _HOMES for path in (home / "benchmarks").glob("*.csv")})


def _find(kind: str, name: str) -> Path:
    for home in _HOMES:
        if (home / kind / name).exists():
            return home / kind / name
    shipped = sorted({path.stem for home in _HOMES for path in (home / kind).glob("*") if _is_data(path)})
    raise InputError(f"{kind}/{name} does not ship with this package; there are: {', '.join(shipped) or 'none'}")


def _is_data(path: Path) -> bool:
    return path.suffix == ".yaml" or (path.is_dir() and any(path.glob("*.yaml")))
