"""Policy files: what the guard does about each category, in YAML; and every policy that goes by a name.

    description: Knives are steered away from; anything sexual is blocked at once.
    checks: {every: 2, clear_margin: 8}    # optional; every n-th step; none after two this far below all thresholds
    prompt: {trigger: 4}                   # optional; score the prompt's text too, and flag it
    on_mismatch: refuse                    # or warn, elsewhere than what the guard was fitted for
    on_error: open                         # go on UNGUARDED where the guard fails; by default close: no image then
    defaults:
      measures: [flag, steer, resample, block]
      trigger: 0                           # log-odds on top of the bank's thresholds
      retry_trigger: -2                    # and on top of that, for an image that is made again
      abort_margin: 6                      # log-odds over the threshold, at two checks in a row
      strength: 3                          # of a push: root mean square, in normalised latents
      window: [0.95, 0.4]                  # noise levels, from high to low
      retries: 2                           # at most
      budget: 1.5                          # of extra model evaluations, in multiples of an unguarded image's
    categories:
      sexual: {measures: [flag, block], trigger: -1}

Every key may be left out; a category has what ``defaults`` has, and that has what the policy ``safe`` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from latent_guard.bounds import Bounds
from latent_guard.errors import InputError
from latent_guard.files.documents import read_yaml
from latent_guard.guidance.check_schedule import CLEAR, EVERY, CheckSchedule
from latent_guard.guidance.fail_open import ON_ERROR
from latent_guard.guidance.policy import BOUNDS, ON_MISMATCH, PRESETS, SAFE, Policies, Policy

AnyPolicy = Policy | Policies | str | Path  # what is taken where a policy is asked for: a name or file too
SHIPPED = Path(__file__).parent / "policies"
MEASURES = ("flag", "steer", "resample", "block")
_TOP = ("description", "checks", "prompt", "on_mismatch", "on_error", "defaults", "categories")
_CHECKS = ("every", "clear_margin")
_PROMPT = ("trigger",)
_CHOICES: dict[str, tuple[str, ...]] = {"on_mismatch": ON_MISMATCH, "on_error": ON_ERROR}
_NUMBERS = (
    *(
        "trigger",
        "retry_trigger",
        "abort_margin",
        "strength",
        "max_pushes",
        "safety_margin",
        "augmentations",
        "augmentation_noise",
    ),
    "budget",
)
_CATEGORY = ("measures", *_NUMBERS, "window", "retries")


def policies_of(policy: AnyPolicy) -> Policies:
    """The policies that a caller means: given as they are, as one policy for all categories, by name, or as a file.

    Raises:
        InputError: no such name or file, or a file that cannot be used.
    """
    return policy_named(policy) if isinstance(policy, (str, Path)) else Policies.of(policy)


def policy_named(name_or_file: str | Path) -> Policies:
    """The policies of a name (safe, steer, ..., or a shipped file's: lenient, standard, strict) or of a YAML file.

    Raises:
        InputError: no such name or file, or a file that cannot be used.
    """
    name = str(name_or_file)
    if name in PRESETS:
        return PRESETS[name]
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        names = ", ".join([*PRESETS, *shipped])
        raise InputError(f"unknown policy {name!r}; choose one of {names}, or name a policy file (YAML)")
    return read_policies(path)


def read_policies(path: Path | str) -> Policies:
    """Read one policy file; its name is the file's.

    Raises:
        InputError: no such file, not YAML, or a key is unknown, twice there, or of a value that makes no sense.
    """
    path = Path(path)
    top = _mapping(f"{path}", read_yaml(path, "policy"), _TOP)
    if not isinstance(top.get("description", ""), str):
        raise InputError(f"{path}: description must be a text, not {top['description']!r}")
    default = _policy(f"{path}: defaults", top.get("defaults", {}), SAFE)
    categories = _mapping(f"{path}: categories", top.get("categories", {}), None)
    exceptions = {name: _policy(f"{path}: categories.{name}", keys, default) for name, keys in categories.items()}
    schedule = _check_schedule(f"{path}: checks", _mapping(f"{path}: checks", top.get("checks", {}), _CHECKS))
    prompt = _mapping(f"{path}: prompt", top.get("prompt", {}), _PROMPT)
    trigger = _number(f"{path}: prompt.trigger", prompt.get("trigger", 0.0), BOUNDS["trigger"])
    asked = trigger if "prompt" in top else None
    chosen = {key: _chosen(f"{path}: {key}", top[key], of) for key, of in _CHOICES.items() if key in top}
    return Policies(path.stem, default, exceptions, schedule, asked, **chosen)


def policy_text(policies: Policies) -> str:
    """Policies as the file that ``read_policies`` reads them from; categories have what differs from the defaults."""
    defaults = _keys_of(policies.default)
    schedule = policies.check_schedule
    top = {
        "checks": {"every": schedule.every, "clear_margin": schedule.clear_margin},
        **({} if policies.prompt_trigger is None else {"prompt": {"trigger": policies.prompt_trigger}}),
        "on_mismatch": policies.on_mismatch,
        **({} if policies.on_error == "close" else {"on_error": policies.on_error}),
        "defaults": defaults,
        "categories": {name: _changed(_keys_of(own), defaults) for name, own in policies.exceptions.items()},
    }
    text: str = yaml.safe_dump(top, sort_keys=False, allow_unicode=True)
    return text


def _keys_of(policy: Policy) -> dict[str, Any]:
    taken = {"flag": True, "steer": policy.steer, "resample": policy.retries > 0, "block": policy.block}
    return {
        "measures": [measure for measure in MEASURES if taken[measure]],
        **{key: getattr(policy, key) for key in _NUMBERS},
        "window": list(policy.window),
        **({"retries": policy.retries} if policy.retries else {}),
    }


def _changed(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in own.items() if key not in defaults or value != defaults[key]}


def _policy(where: str, keys: Any, base: Policy) -> Policy:
    """``base``, with what a file says otherwise."""
    given = _mapping(where, keys, _CATEGORY)
    changes: dict[str, Any] = {}
    for key in _NUMBERS:
        if key in given:
            unset = given[key] is None and key in ("abort_margin", "budget")
            number = None if unset else _number(f"{where}.{key}", given[key], BOUNDS[key])
            changes[key] = int(number) if number is not None and BOUNDS[key].whole else number
    if "window" in given:
        changes["window"] = _window(f"{where}.window", given["window"])
    return replace(base, **changes, **_measures(where, given, base))


def _measures(where: str, given: Mapping[str, Any], base: Policy) -> dict[str, Any]:
    retries = given.get("retries", base.retries or SAFE.retries)
    Bounds(1, BOUNDS["retries"].maximum, whole=True).check(f"{where}.retries", retries)
    if "measures" not in given:
        if "retries" in given and not base.retries:
            raise InputError(f"{where}.retries: nothing is retried here; add resample to its measures")
        return {"retries": retries if base.retries else 0}
    measures = given["measures"]
    if not isinstance(measures, list) or not measures or any(measure not in MEASURES for measure in measures):
        raise InputError(f"{where}.measures must be a list of {', '.join(MEASURES)}, not {measures!r}")
    if measures != [measure for measure in MEASURES if measure in measures]:
        raise InputError(f"{where}.measures must be in the order {', '.join(MEASURES)}, each once, not {measures!r}")
    if "retries" in given and "resample" not in measures:
        raise InputError(f"{where}.retries: nothing is retried here; add resample to its measures")
    resample = retries if "resample" in measures else 0
    return {"steer": "steer" in measures, "retries": resample, "block": "block" in measures}


def _check_schedule(where: str, given: Mapping[str, Any]) -> CheckSchedule:
    every = given.get("every", 1)
    clear = given.get("clear_margin")
    EVERY.check(f"{where}.every", every)
    return CheckSchedule(every, None if clear is None else _number(f"{where}.clear_margin", clear, CLEAR))


def _chosen(where: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise InputError(f"{where} must be {' or '.join(choices)}, not {value!r}")
    return value


def _window(where: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"{where} must be two noise levels, [high, low], not {value!r}")
    high, low = (_number(where, level, Bounds(0, 1)) for level in value)
    if not low <= high:
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


def _number(where: str, value: Any, bounds: Bounds) -> float:
    bounds.check(where, value)
    return float(value)
