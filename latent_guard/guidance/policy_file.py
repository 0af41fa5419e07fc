"""Policy files: what the guard does about each category, in YAML; and every policy that goes by a name.

    description: Knives are steered away from; anything sexual is withheld at once.
    looking: {every: 2, clear: 8}          # optional; `every` step, or stop after two looks this `clear` of a threshold
    prompt: {trigger: 4}                   # optional; score the prompt's text too, and flag it
    defaults:
      measures: [flag, steer, resample, block]
      trigger: 0                           # log-odds on top of the bank's thresholds
      abort: 6                             # log-odds over the threshold, at two looks in a row
      strength: 3                          # of a push: root mean square, in raw latent units
      window: [0.95, 0.4]                  # noise levels, from high to low
      restarts: 2                          # at most
      budget: 1.5                          # of extra model evaluations, in multiples of an unguarded image's
    categories:
      sexual: {measures: [flag, block], trigger: -1}

Every key may be left out; a category has what `defaults` has, and that has what the policy `safe` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from latent_guard.errors import InputError
from latent_guard.guidance.looking import Looking
from latent_guard.guidance.policy import PRESETS, SAFE, Policies, Policy

SHIPPED = Path(__file__).parent / "policies"
MEASURES = ("flag", "steer", "resample", "block")
_TOP = ("description", "looking", "prompt", "defaults", "categories")
_LOOKING, _PROMPT = ("every", "clear"), ("trigger",)
_MOST = 1e6  # of any number
_CATEGORY = ("measures", "trigger", "abort", "strength", "window", "restarts", "budget")


def policy_named(name_or_file: str) -> Policies:
    """The policies of a name (safe, steer, ..., or a shipped file's: lenient, standard, strict) or of a YAML file.

    Raises:
        InputError: no such name or file, or a file that cannot be used.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    path = shipped.get(name_or_file, Path(name_or_file))
    if not path.is_file():
        names = ", ".join([*PRESETS, *shipped])
        raise InputError(f"unknown policy {name_or_file!r}; choose one of {names}, or name a policy file (YAML)")
    return read_policies(path)


def read_policies(path: Path | str) -> Policies:
    """Read one policy file; its name is the file's.

    Raises:
        InputError: no such file, not YAML, or a key is unknown, twice there, or of a value that makes no sense.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _OneOfEachKey)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read policy {path}: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    top = _mapping(f"{path}", content, _TOP)
    if not isinstance(top.get("description", ""), str):
        raise InputError(f"{path}: description must be a text, not {top['description']!r}")
    try:
        default = _policy(f"{path}: defaults", top.get("defaults", {}), SAFE)
        categories = _mapping(f"{path}: categories", top.get("categories", {}), None)
        exceptions = {name: _policy(f"{path}: categories.{name}", keys, default) for name, keys in categories.items()}
        looking = _looking(f"{path}: looking", _mapping(f"{path}: looking", top.get("looking", {}), _LOOKING))
        prompt = _mapping(f"{path}: prompt", top.get("prompt", {}), _PROMPT)
        trigger = _number(f"{path}: prompt.trigger", prompt.get("trigger", 0.0)) if "prompt" in top else None
    except RecursionError as error:  # an anchor that holds itself
        raise InputError(f"{path} is not valid YAML: it holds itself; write its parts out") from error
    return Policies(path.stem, default, exceptions, looking, trigger)


def _policy(where: str, keys: Any, base: Policy) -> Policy:
    """`base`, with what a file says otherwise."""
    given = _mapping(where, keys, _CATEGORY)
    changes: dict[str, Any] = {}
    for key, field in (("trigger", "trigger"), ("strength", "strength")):
        if key in given:
            changes[field] = _number(f"{where}.{key}", given[key], least=-_MOST if key == "trigger" else 0.0)
    for key, field in (("abort", "abort_margin"), ("budget", "budget")):
        if key in given:
            changes[field] = None if given[key] is None else _number(f"{where}.{key}", given[key], least=0.0)
    if "window" in given:
        changes["window"] = _window(f"{where}.window", given["window"])
    return replace(base, **changes, **_measures(where, given, base))


def _measures(where: str, given: Mapping[str, Any], base: Policy) -> dict[str, Any]:
    restarts = _whole(f"{where}.restarts", given.get("restarts", base.restarts or SAFE.restarts), least=1)
    if "measures" not in given:
        if "restarts" in given and not base.restarts:
            raise InputError(f"{where}.restarts: nothing is run again here; add resample to its measures")
        return {"restarts": restarts if base.restarts else 0}
    measures = given["measures"]
    if not isinstance(measures, list) or not measures or any(measure not in MEASURES for measure in measures):
        raise InputError(f"{where}.measures must be a list of {', '.join(MEASURES)}, not {measures!r}")
    if measures != [measure for measure in MEASURES if measure in measures]:
        raise InputError(f"{where}.measures must be in the order {', '.join(MEASURES)}, each once, not {measures!r}")
    if "restarts" in given and "resample" not in measures:
        raise InputError(f"{where}.restarts: nothing is run again here; add resample to its measures")
    resample = restarts if "resample" in measures else 0
    return {"steer": "steer" in measures, "restarts": resample, "block": "block" in measures}


def _looking(where: str, given: Mapping[str, Any]) -> Looking:
    clear = given.get("clear")
    return Looking(
        every=_whole(f"{where}.every", given.get("every", 1), least=1),
        clear_margin=None if clear is None else _number(f"{where}.clear", clear, least=0.0),
    )


def _window(where: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"{where} must be two noise levels, [high, low], not {value!r}")
    high, low = (_number(where, level, least=0.0) for level in value)
    if not low <= high <= 1.0:
        raise InputError(f"{where} must be [high, low] with 1 >= high >= low >= 0, not {value!r}")
    return high, low


def _mapping(where: str, value: Any, keys: tuple[str, ...] | None) -> dict[str, Any]:
    """A mapping with these keys at most; None: any names."""
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a mapping{f' with the keys {_listed(keys)}' if keys else ''}, not {value!r}")
    for key in value:
        if not isinstance(key, str) or (keys is not None and key not in keys):
            raise InputError(f"{where}: unknown key {key!r}; {f'the keys are {_listed(keys)}' if keys else 'quote it'}")
    return value


def _listed(keys: tuple[str, ...]) -> str:
    return ", ".join(keys)


def _number(where: str, value: Any, least: float = -_MOST) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= _MOST:
        raise InputError(f"{where} must be a number from {least:g} to {_MOST:g}, not {value!r}")
    return float(value)


def _whole(where: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where} must be a whole number of at least {least}, not {value!r}")
    return value


class _OneOfEachKey(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """Refuses a key that is there twice: of two rules for one category, the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        for number, key in enumerate(keys):
            if isinstance(key, yaml.ScalarNode) and key.value in [earlier.value for earlier in keys[:number]]:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
